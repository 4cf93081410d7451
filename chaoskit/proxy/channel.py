"""What one AMQP channel remembers: consumers, deliveries that await an ack, publishes that await a confirm.

Pure bookkeeping: the caller reads frames and reports messages. Delivery tags of the two directions are separate
sequences (AMQP 0-9-1 section 1.8.3.13 for the consumer's, RabbitMQ's confirm extension for the publisher's).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from pamqp import base

_T = TypeVar("_T")


class Message(NamedTuple):
    """What is remembered of a message; `queue` is where it goes to or came from."""

    queue: str
    exchange: str
    routing_key: str
    message_id: str
    size_bytes: int
    preview: bytes
    redelivered: bool = False
    whole: bool = True


class Consumer(NamedTuple):
    """A consumer's queue, and whether its deliveries need no ack."""

    queue: str
    no_ack: bool


class Request(NamedTuple):
    """A method that the client sent and the broker has not answered; `reply_ids` are the answers it can get."""

    method: base.Frame
    reply_ids: frozenset[int]


class Confirmed(NamedTuple):
    """A publish that was confirmed: the publisher's own number of it, and one message for each queue."""

    client_tag: int
    messages: tuple[Message, ...]


@dataclass(slots=True)
class Channel:
    """The state of one channel, from channel.open to channel.close-ok."""

    requests: deque[Request] = field(default_factory=deque)
    last_queue: str = ""
    consumers: dict[str, Consumer] = field(default_factory=dict)
    unacked: dict[int, Message] = field(default_factory=dict)
    confirming: bool = False
    published: int = 0
    dropped: int = 0
    unconfirmed: dict[int, Confirmed] = field(default_factory=dict)

    def answer(self, reply_id: int) -> base.Frame | None:
        """Take the request that a reply belongs to; replies come in the order of the requests."""
        for position, request in enumerate(self.requests):
            if reply_id in request.reply_ids:
                for _ in range(position + 1):
                    self.requests.popleft()
                return request.method
        return None

    def settle(self, delivery_tag: int, multiple: bool) -> list[tuple[int, Message]]:
        """Take the deliveries that an ack, nack or reject settles, in the order of their tags."""
        return _take_settled(self.unacked, delivery_tag, multiple)

    def publish(self, messages: tuple[Message, ...], dropped: bool) -> None:
        """Remember a publish. A dropped one takes a number of the publisher's, but none of the broker's."""
        if not self.confirming:
            return
        self.published += 1
        if dropped:
            self.dropped += 1
        else:
            broker_tag = self.published - self.dropped
            self.unconfirmed[broker_tag] = Confirmed(self.published, messages)

    def confirm(self, delivery_tag: int, multiple: bool) -> list[Confirmed]:
        """Take the publishes that a confirm of the broker's covers, in their order."""
        return [confirmed for _, confirmed in _take_settled(self.unconfirmed, delivery_tag, multiple)]


def _take_settled(waiting: dict[int, _T], tag: int, multiple: bool) -> list[tuple[int, _T]]:
    """Take `tag`, or everything up to it; tag 0 with `multiple` is everything."""
    if not multiple:
        return [(tag, waiting.pop(tag))] if tag in waiting else []
    settled: list[tuple[int, _T]] = []
    # Tags are added in rising order, so that the walk may end at the first one that is not covered.
    for known in waiting:
        if tag and known > tag:
            break
        settled.append((known, waiting[known]))
    for known, _ in settled:
        del waiting[known]
    return settled
