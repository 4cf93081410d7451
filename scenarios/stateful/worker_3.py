"""Worker 3 of the stateful scenario, the verifier: says SUCCESS or FAILURE for the result of each client.

Worker 2 sends a result at least once, so the same result (same message id, same sum) may come again and is only logged;
a different second result is a FAILURE, and so is a result for a client that the runner does not have. It keeps nothing
on disk and does not say anything about a client without a result.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import amqp
import pika
from pika.adapters.blocking_connection import BlockingChannel

NAME = "Worker 3"
_SHOWN_ID_CHARACTERS = 64


def say(line: str) -> None:
    amqp.say(NAME, line)


class Result(NamedTuple):
    """What worker 2 sent for a client."""

    message_id: str
    total: int


def parse(body: bytes) -> tuple[str, int] | None:
    """Return client id and sum, or None for anything that is no result."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    client_id, total = fields.get("client_id"), fields.get("sum")
    if not isinstance(client_id, str) or not isinstance(total, int) or isinstance(total, bool):
        return None
    return client_id, total


def shown(client_id: str) -> str:
    """Return an id that cannot break a verdict line."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "?" for c in client_id)
    return kept[:_SHOWN_ID_CHARACTERS] or "?"


class Verifier:
    """Compares results with what the runner's numbers add up to."""

    def __init__(self, clients: int, chunks: int) -> None:
        total = sum(10 * number for number in range(1, chunks + 1))
        self.expected = {f"CLI{number}": total for number in range(1, clients + 1)}
        self.first: dict[str, Result] = {}

    def announce(self) -> None:
        for client_id, total in self.expected.items():
            say(f"Expected sum for client {client_id}: {total}")

    def handle(self, channel: BlockingChannel, tag: int, properties: pika.BasicProperties, body: bytes) -> None:
        """Judge one message and acknowledge it."""
        result = parse(body)
        if result is None:
            say(f"Rejected a message of {len(body)} bytes that is no result")
            channel.basic_reject(tag, requeue=False)
            return
        client_id, total = result
        say(self.judge(client_id, Result(str(properties.message_id), total)))
        channel.basic_ack(tag)

    def judge(self, client_id: str, result: Result) -> str:
        """Return the line to print for a result."""
        expected = self.expected.get(client_id)
        if expected is None:
            return f"FAILURE [{shown(client_id)}] - Unknown client, Received: {result.total}"
        first = self.first.setdefault(client_id, result)
        if first is result:
            verdict = "SUCCESS" if result.total == expected else "FAILURE"
            return f"{verdict} [{client_id}] - Expected: {expected}, Received: {result.total}"
        if first == result:
            return f"Duplicate result for client {client_id} (sum: {result.total})"
        return f"FAILURE [{client_id}] - Expected: {expected}, Received: {result.total} after {first.total}"


def main() -> None:
    amqp.end_with_one_line(NAME)
    stop = amqp.Stop()
    verifier = Verifier(amqp.number_setting("NUM_CLIENTS", 2), amqp.number_setting("NUM_CHUNKS", 3))
    verifier.announce()
    queue = amqp.text_setting("INPUT_QUEUE", "queue-2-3")

    def serve(channel: BlockingChannel) -> None:
        amqp.declare(channel, queue)
        say(f"Waiting for results in {queue}")
        amqp.consume(channel, queue, stop, verifier.handle)

    amqp.with_channel(NAME, serve)


if __name__ == "__main__":
    main()
