"""Worker 2 of the stateful scenario: adds up the chunks of each client and sends the sum when all have come.

A chunk is acknowledged only when it is on disk and, for the last one of a client, the result is confirmed by the broker
and the client is marked as finished. A message that is no chunk goes to `rejected/messages.jsonl` in the data directory
and is rejected without requeue. It keeps no result and does not check sums: that is what worker 3 is for.
"""

from __future__ import annotations

import json
import os
from typing import Any

import amqp
import pika
from pika.adapters.blocking_connection import BlockingChannel

from chaoskit.durable.dead_letters import DeadLetters
from chaoskit.durable.errors import InvalidMessageError, WriteFailedError
from chaoskit.durable.names import safe_name
from chaoskit.durable.stateful import MessageRow, Outcome, StatefulWorkerManager

NAME = "Worker 2"
COLUMNS = ("msg_id", "chunk_number", "value")
LARGEST_NUMBER = 2**63 - 1


def say(line: str) -> None:
    amqp.say(NAME, line)


class ClientSum:
    """The sum of one client's chunks. A chunk number counts once, also when it comes under two message ids."""

    def __init__(self, expected_chunks: int) -> None:
        self.expected_chunks = expected_chunks
        self.total = 0
        self._values: dict[int, int] = {}

    @property
    def chunks(self) -> int:
        return len(self._values)

    @property
    def is_ready(self) -> bool:
        return self.chunks >= self.expected_chunks

    def update_state(self, row: dict[str, str]) -> None:
        number, value = int(row["chunk_number"]), int(row["value"])
        known = self._values.get(number)
        if known is None:
            self._values[number] = value
            self.total += value
        elif known != value:
            raise ValueError(f"chunk {number} is {value} here and {known} before")


class Chunk:
    """A message that was parsed and checked: everything that can be wrong with it is found here."""

    def __init__(self, body: bytes) -> None:
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidMessageError(f"it is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise InvalidMessageError("it is not a JSON object")
        self.client_id = safe_name(fields.get("client_id"), "client_id")
        self.msg_id = safe_name(fields.get("msg_id"), "msg_id")
        self.number = _whole_number(fields, "chunk_number", 1)
        self.value = _whole_number(fields, "value", -LARGEST_NUMBER)

    def row(self) -> MessageRow:
        return MessageRow(self.client_id, (self.msg_id, self.number, self.value))


def _whole_number(fields: dict[str, Any], name: str, smallest: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= LARGEST_NUMBER:
        raise InvalidMessageError(f"{name} is not a whole number from {smallest} to {LARGEST_NUMBER}")
    return value


class Worker:
    """Puts together the manager, which knows the disk, and a channel, which knows the broker."""

    def __init__(self, data_dir: str, input_queue: str, output_queue: str, expected_chunks: int) -> None:
        self.input_queue, self.output_queue = input_queue, output_queue
        self.sent: set[str] = set()
        self.stop = amqp.Stop()
        self.dead_letters = DeadLetters(os.path.join(data_dir, "rejected", "messages.jsonl"))
        self.manager = StatefulWorkerManager(
            os.path.join(data_dir, "metadata"), lambda _client: ClientSum(expected_chunks), Chunk.row, COLUMNS, log=say
        )

    def run(self) -> None:
        """Rebuild, then work until SIGTERM."""
        self.manager.rebuild_state()
        amqp.with_channel(NAME, self.serve)

    def serve(self, channel: BlockingChannel) -> None:
        """Send what a crash left unsent, then take messages."""
        amqp.declare(channel, self.input_queue)
        amqp.declare(channel, self.output_queue)
        for client_id in self.manager.ready_clients():
            with self.stop.deferred():
                self.finish(channel, client_id)
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
            except InvalidMessageError as error:
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
        """Put a message that is no good on disk; False when the disk does not take it now."""
        try:
            self.dead_letters.add(body, reason)
        except WriteFailedError as error:
            say(str(error))
            return False
        say(f"Rejected a message of {len(body)} bytes: {reason}")
        return True

    def process(self, channel: BlockingChannel, body: bytes) -> None:
        """Make a chunk durable and send the result when it was the last one."""
        chunk = Chunk(body)
        say(f"Processing chunk {chunk.number} for client {chunk.client_id}")
        outcome = self.manager.process_message(chunk)
        if outcome is Outcome.FINISHED:
            say(f"Client {chunk.client_id} is finished, ignoring message {chunk.msg_id}")
            return
        if outcome is Outcome.DUPLICATE:
            say(f"Message {chunk.msg_id} of client {chunk.client_id} is a duplicate")
        state = self.manager.get_client_state(chunk.client_id)
        if state is None:
            return
        if state.is_ready:
            self.finish(channel, chunk.client_id)
        else:
            progress = f"{state.chunks}/{state.expected_chunks} chunks, sum: {state.total}"
            say(f"Client {chunk.client_id} not ready yet ({progress})")

    def finish(self, channel: BlockingChannel, client_id: str) -> None:
        """Send the result, then mark the client: a kill in between sends it again, under the same message id.

        When only the marking fails, on a full disk, the next attempt does not send again.
        """
        state = self.manager.get_client_state(client_id)
        if state is None:
            return
        if client_id not in self.sent:
            say(f"Client {client_id} is ready! Aggregated sum: {state.total}")
            body = json.dumps({"client_id": client_id, "sum": state.total}).encode()
            amqp.publish(channel, self.output_queue, f"{client_id}/result", body)
            self.sent.add(client_id)
            say(f"Sent result chunk for client {client_id} (sum: {state.total})")
        self.manager.mark_client_ready(client_id)
        self.sent.discard(client_id)


def main() -> None:
    amqp.end_with_one_line(NAME)
    Worker(
        amqp.text_setting("WORKER_DATA_DIR", "/app/worker-data"),
        amqp.text_setting("INPUT_QUEUE", "queue-1-2"),
        amqp.text_setting("OUTPUT_QUEUE", "queue-2-3"),
        amqp.number_setting("EXPECTED_CHUNKS", 3),
    ).run()


if __name__ == "__main__":
    main()
