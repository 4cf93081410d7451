"""The test runner of the partition-writes scenario: sends NUM_CHUNKS chunks of 10 to 20 rows to worker 2.

SEED=N picks the rows (chunk_data.py). DUPLICATES=N sends N of the chunks twice in a row, LATE_DUPLICATES=N sends N of
them again after all others. Ends with exit code 0 when the broker has confirmed every message. A message whose
confirmation got lost is sent again. It checks no file.
"""

from __future__ import annotations

import random

import amqp
from chunk_data import Chunk, chunks
from pika.adapters.blocking_connection import BlockingChannel

NAME = "Test runner"


def in_sending_order(originals: list[Chunk], duplicates: int, late_duplicates: int, seed: int) -> list[Chunk]:
    """The chunks with those that are sent again, right behind the first copy or at the end."""
    if not originals:
        return []
    source = random.Random(f"{seed}/duplicates")
    twice = source.choices(range(len(originals)), k=duplicates)
    once_or_more = [chunk for index, chunk in enumerate(originals) for _ in range(1 + twice.count(index))]
    return once_or_more + source.choices(originals, k=late_duplicates)


class Sender:
    """Sends a list of chunks; goes on where it stopped when the channel is a new one."""

    def __init__(self, messages: list[Chunk], client_id: str, queue: str) -> None:
        self.messages, self.client_id, self.queue = messages, client_id, queue
        self.confirmed = 0

    def send(self, channel: BlockingChannel) -> None:
        amqp.declare(channel, self.queue)
        while self.confirmed < len(self.messages):
            chunk = self.messages[self.confirmed]
            amqp.publish(channel, self.queue, chunk.id, chunk.body(self.client_id))
            self.confirmed += 1
            amqp.say(NAME, f"Sent chunk {chunk.id} ({len(chunk.rows)} rows)")


def main() -> None:
    amqp.end_with_one_line(NAME)
    amqp.Stop()
    client_id, seed = amqp.text_setting("CLIENT_ID", "TEST"), amqp.number_setting("SEED", 0)
    originals = chunks(client_id, amqp.number_setting("NUM_CHUNKS", 20), seed)
    late_duplicates = amqp.number_setting("LATE_DUPLICATES", 0)
    messages = in_sending_order(originals, amqp.number_setting("DUPLICATES", 0), late_duplicates, seed)
    sender = Sender(messages, client_id, amqp.text_setting("OUTPUT_QUEUE", "queue-1-2"))
    amqp.with_channel(NAME, sender.send)
    amqp.say(NAME, f"All {len(messages)} messages are confirmed")


if __name__ == "__main__":
    main()
