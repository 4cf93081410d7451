"""Short forms for what nearly every test does with a pika channel."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import pika
from pika.adapters.blocking_connection import BlockingChannel

DEADLINE_S = 10.0


class Got(NamedTuple):
    """A message from basic.get or a consumer."""

    tag: int
    redelivered: bool
    body: bytes
    properties: pika.BasicProperties
    exchange: str = ""
    routing_key: str = ""


def publish(channel: BlockingChannel, queue: str, bodies: Iterable[bytes], **properties: Any) -> None:
    """Publish to a queue, and come back when the broker has confirmed all of it."""
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties), mandatory=True)


def get(channel: BlockingChannel, queue: str, auto_ack: bool = False) -> Got | None:
    """basic.get."""
    method, properties, body = channel.basic_get(queue, auto_ack)
    if method is None:
        return None
    return Got(method.delivery_tag, method.redelivered, body, properties, method.exchange, method.routing_key)


def wait_for(channel: BlockingChannel, queue: str) -> Got:
    """basic.get until there is a message."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (got := get(channel, queue, auto_ack=True)) is None:
        assert time.monotonic() < deadline_s, f"no message came to {queue}"
        channel.connection.process_data_events(0.01)
    return got


def bodies(channel: BlockingChannel, queue: str) -> list[bytes]:
    """Everything that is ready, taken out."""
    found = []
    while (got := get(channel, queue, auto_ack=True)) is not None:
        found.append(got.body)
    return found


def depth(channel: BlockingChannel, queue: str) -> int:
    """How many messages are ready."""
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def wait_for_depth(channel: BlockingChannel, queue: str, count: int) -> None:
    """Wait until so many messages are ready: RabbitMQ notices a dead client a moment later."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (found := depth(channel, queue)) != count:
        assert time.monotonic() < deadline_s, f"{found} messages in {queue}, expected {count}"
        channel.connection.process_data_events(0.01)


class Inbox:
    """A consumer's messages as they came."""

    def __init__(self, channel: BlockingChannel, queue: str, auto_ack: bool = False, **options: Any) -> None:
        self.messages: list[Got] = []
        self.channel = channel
        self.tag = channel.basic_consume(queue, self._on_message, auto_ack=auto_ack, **options)

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        got = Got(method.delivery_tag, method.redelivered, body, properties, method.exchange, method.routing_key)
        self.messages.append(got)

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]

    def wait(self, count: int) -> list[Got]:
        """Until that many messages are there."""
        deadline_s = time.monotonic() + DEADLINE_S
        while len(self.messages) < count:
            assert time.monotonic() < deadline_s, f"{len(self.messages)} of {count} messages came"
            self.channel.connection.process_data_events(0.01)
        return self.messages

    def settle(self) -> list[Got]:
        """What has come after the broker has answered two more questions: no more is on its way."""
        for _ in range(2):
            # A round trip on this channel: whatever was sent before the answer is here now.
            self.channel.basic_qos()
            self.channel.connection.process_data_events(0)
        return self.messages
