"""Worker 2 of the partition-writes scenario: puts the rows of each chunk into their partition files, then forwards it.

A chunk is forwarded when all of its rows are on disk and acknowledged when that was confirmed and recorded. A message
that is no chunk, or whose partition file a person has to repair, is kept whole in `rejected/messages.jsonl` in the data
directory and rejected without requeue; none of its rows is written. It checks no file: that is what worker 3 is for.
"""

from __future__ import annotations

import json
import os

import amqp
import pika
from pika.adapters.blocking_connection import BlockingChannel

from chaoskit.durable.dead_letters import DeadLetters
from chaoskit.durable.errors import InvalidMessageError, UnusableFileError, WriteFailedError
from chaoskit.durable.names import safe_name
from chaoskit.durable.partition import ChunkStatus, PartitionManager
from chaoskit.durable.partition_rows import parse_csv

NAME = "Worker 2"
COLUMNS = ("user_id", "name")


def say(line: str) -> None:
    amqp.say(NAME, line)


class Chunk:
    """A message that was parsed and checked as far as it can be without knowing the partitions."""

    def __init__(self, body: bytes) -> None:
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidMessageError(f"it is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise InvalidMessageError("it is not a JSON object")
        self.client_id = safe_name(fields.get("client_id"), "client_id")
        self.id = safe_name(fields.get("chunk_id"), "chunk_id")
        if not isinstance(data := fields.get("data"), str):
            raise InvalidMessageError("data is not text")
        self.rows = parse_csv(data, COLUMNS)


class Worker:
    """Puts together the manager, which knows the disk, and a channel, which knows the broker."""

    def __init__(self, data_dir: str, input_queue: str, output_queue: str, manager: PartitionManager) -> None:
        self.input_queue, self.output_queue = input_queue, output_queue
        self.stop = amqp.Stop()
        self.dead_letters = DeadLetters(
            os.path.join(data_dir, "rejected", "messages.jsonl"), max_bytes=1 << 28, max_body_bytes=1 << 24
        )
        self.manager = manager
        self.confirmed_id = ""

    def run(self) -> None:
        """Repair what an earlier life left behind, then work until SIGTERM."""
        say("Repairing partition files...")
        recovery = self.manager.recover()
        for cut in (*recovery.undone, *recovery.healed):
            say(f"Cut {cut.cut_bytes} bytes off {os.path.basename(cut.path)}, it has {cut.length_bytes} bytes")
        amqp.with_channel(NAME, self.serve)

    def serve(self, channel: BlockingChannel) -> None:
        """Take messages from the input queue."""
        # A broker that was away may have lost what it confirmed.
        self.confirmed_id = ""
        amqp.declare(channel, self.input_queue)
        amqp.declare(channel, self.output_queue)
        say(f"Waiting for chunks in {self.input_queue}")
        amqp.consume(channel, self.input_queue, self.stop, self.handle)

    def handle(self, channel: BlockingChannel, tag: int, _properties: pika.BasicProperties, body: bytes) -> None:
        """Take one message; acknowledge or reject it only when what it caused is durable.

        A full disk is waited for with the message in hand, so that the broker does not send it round and round.
        """
        backoff = amqp.Backoff()
        while True:
            try:
                self.process(channel, body)
                channel.basic_ack(tag)
                return
            except (InvalidMessageError, UnusableFileError) as error:
                if self.keep(body, str(error)):
                    channel.basic_reject(tag, requeue=False)
                    return
            except WriteFailedError as error:
                say(str(error))
            channel.connection.sleep(backoff.next_delay_s())
            if self.stop.requested:
                channel.basic_nack(tag, requeue=True)
                return

    def keep(self, body: bytes, reason: str) -> bool:
        """Put a message that cannot be worked on on disk; False when the disk does not take it now."""
        try:
            self.dead_letters.add(body, reason)
        except WriteFailedError as error:
            say(str(error))
            return False
        say(f"Rejected a message of {len(body)} bytes: {reason}")
        return True

    def process(self, channel: BlockingChannel, body: bytes) -> None:
        """Write a chunk, forward it, record that it is done."""
        chunk = Chunk(body)
        say(f"Processing chunk {chunk.id}")
        result = self.manager.write_chunk(chunk.client_id, chunk.id, chunk.rows)
        if result.status is ChunkStatus.PROCESSED:
            say(f"Chunk {chunk.id} was processed before")
            return
        for partition in result.partitions:
            say(f"Wrote partition {partition} from chunk {chunk.id}")
        # A kill behind this line forwards the chunk a second time, under the same message id; a full disk does not.
        if self.confirmed_id != chunk.id:
            amqp.publish(channel, self.output_queue, chunk.id, body)
            self.confirmed_id = chunk.id
        self.manager.mark_processed(chunk.id)
        say(f"Completed processing chunk {chunk.id}")


def main() -> None:
    amqp.end_with_one_line(NAME)
    data_dir = amqp.text_setting("WORKER_DATA_DIR", "/app/worker-data")
    manager = PartitionManager(
        data_dir,
        amqp.number_setting("NUM_PARTITIONS", 5),
        columns=COLUMNS,
        compact_pairs_above=amqp.number_setting("COMPACT_PAIRS_ABOVE", 20_000),
    )
    input_queue = amqp.text_setting("INPUT_QUEUE", "queue-1-2")
    Worker(data_dir, input_queue, amqp.text_setting("OUTPUT_QUEUE", "queue-2-3"), manager).run()


if __name__ == "__main__":
    main()
