"""The test runner of the stateful scenario: sends NUM_CHUNKS chunks for each of NUM_CLIENTS clients.

Chunk n has the value 10 * n and the message id `{client}{n as 8 digits}`. DUPLICATES=N sends N of the messages twice in
a row, LATE_DUPLICATES=N sends N of them again after all others; SEED=N picks which. Ends with exit code 0 when the
broker has confirmed every message, with 143 on SIGTERM. A message whose confirmation got lost is sent again. It checks
no result.
"""

from __future__ import annotations

import json
import random
from typing import NamedTuple

import amqp
from pika.adapters.blocking_connection import BlockingChannel

NAME = "Test runner"
# 0 would say that everything was confirmed.
EXIT_CODE_WHEN_STOPPED = 143


class Chunk(NamedTuple):
    """One message."""

    client_id: str
    number: int

    @property
    def msg_id(self) -> str:
        return f"{self.client_id}{self.number:08d}"

    def body(self) -> bytes:
        value = 10 * self.number
        fields = {
            "client_id": self.client_id,
            "msg_id": self.msg_id,
            "chunk_number": self.number,
            "value": value,
        }
        return json.dumps(fields).encode()


def chunks_to_send(clients: int, chunks: int, duplicates: int, late_duplicates: int, seed: int) -> list[Chunk]:
    """Return all messages in the order of sending: chunk 1 of every client, chunk 2 of every client, ..."""
    numbers = range(1, chunks + 1)
    originals = [Chunk(f"CLI{client}", number) for number in numbers for client in range(1, clients + 1)]
    if not originals:
        return []
    source = random.Random(seed)
    twice = source.choices(range(len(originals)), k=duplicates)
    once_or_more = [chunk for index, chunk in enumerate(originals) for _ in range(1 + twice.count(index))]
    return once_or_more + source.choices(originals, k=late_duplicates)


class Sender:
    """Sends a list of chunks; goes on where it stopped when the channel is a new one."""

    def __init__(self, chunks: list[Chunk], queue: str) -> None:
        self.chunks, self.queue = chunks, queue
        self.confirmed = 0

    def send(self, channel: BlockingChannel) -> None:
        amqp.declare(channel, self.queue)
        while self.confirmed < len(self.chunks):
            chunk = self.chunks[self.confirmed]
            amqp.publish(channel, self.queue, chunk.msg_id, chunk.body())
            self.confirmed += 1
            amqp.say(NAME, f"Sent chunk {chunk.number} for client {chunk.client_id} ({chunk.msg_id})")


def main() -> None:
    amqp.end_with_one_line(NAME)
    amqp.Stop(EXIT_CODE_WHEN_STOPPED)
    chunks = chunks_to_send(
        amqp.number_setting("NUM_CLIENTS", 2),
        amqp.number_setting("NUM_CHUNKS", 3),
        amqp.number_setting("DUPLICATES", 0),
        amqp.number_setting("LATE_DUPLICATES", 0),
        amqp.number_setting("SEED", 0),
    )
    sender = Sender(chunks, amqp.text_setting("OUTPUT_QUEUE", "queue-1-2"))
    amqp.with_channel(NAME, sender.send)
    amqp.say(NAME, f"All {len(chunks)} messages are confirmed")


if __name__ == "__main__":
    main()
