"""A queue: messages in order, the consumers that share them, requeueing, expiry and the length limit.

It never reads a clock: the time that matters is the argument `now_s`. It does not know the wire; a consumer's channel
does the delivering. What happens to messages that die is the owner's business (`on_dead`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chaoskit.broker.core.arguments import QueueArguments
from chaoskit.broker.core.message import Message


@dataclass(slots=True, eq=False)
class Entry:
    """A message in one queue; `position` keeps its place when it comes back."""

    position: int
    message: Message
    expires_s: float | None
    redelivered: bool = False


class Deliverer(Protocol):
    """What a consumer needs of its channel."""

    def has_credit(self) -> bool:
        """Whether the limit that the channel's consumers share leaves room for one more."""

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send it, and hold it until it is settled unless the consumer acknowledges nothing."""

    def queue_is_gone(self, consumer: Consumer) -> None:
        """The queue was deleted under its consumer."""


@dataclass(slots=True, eq=False)
class Consumer:
    """One subscription; `prefetch` 0 means no limit, `unacked` counts what it holds."""

    tag: str
    channel: Deliverer
    queue: Queue
    no_ack: bool
    exclusive: bool
    prefetch: int
    unacked: int = 0

    def can_take(self) -> bool:
        """Whether one more message may be sent to it now."""
        if self.no_ack:
            return True
        return (not self.prefetch or self.unacked < self.prefetch) and self.channel.has_credit()


OnDead = Callable[["Queue", Sequence[Entry], str], None]


class Queue:
    """Ready messages in order and consumers that are served in turn."""

    def __init__(
        self,
        name: str,
        *,
        durable: bool,
        auto_delete: bool,
        owner: object | None,
        arguments: QueueArguments,
        on_dead: OnDead,
    ) -> None:
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.arguments = arguments
        self.unacked = 0
        self.deleted = False
        self.ready: deque[Entry] = deque()
        self.consumers: deque[Consumer] = deque()
        self._on_dead = on_dead
        self._next_position = 0

    @property
    def exclusive(self) -> bool:
        """Whether one connection owns it."""
        return self.owner is not None

    def publish(self, message: Message, now_s: float) -> None:
        """Append a message and serve the consumers."""
        entry = Entry(self._next_position, message, self._expiry_s(message, now_s))
        self._next_position += 1
        # A message whose time to live is zero still reaches a consumer that waits for it.
        consumer = None if self.ready else self._next_consumer()
        if consumer is not None:
            consumer.channel.deliver(consumer, entry)
            return
        self.ready.append(entry)
        self.serve(now_s)
        self._limit_length()

    def _expiry_s(self, message: Message, now_s: float) -> float | None:
        limits_ms = [ms for ms in (message.expiration_ms, self.arguments.message_ttl_ms) if ms is not None]
        return now_s + min(limits_ms) / 1000 if limits_ms else None

    def serve(self, now_s: float) -> None:
        """Hand ready messages to consumers while there are both."""
        self.expire(now_s)
        while self.ready and not self.deleted:
            consumer = self._next_consumer()
            if consumer is None:
                return
            consumer.channel.deliver(consumer, self.ready.popleft())

    def _next_consumer(self) -> Consumer | None:
        for _ in range(len(self.consumers)):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.can_take():
                return consumer
        return None

    def take(self, now_s: float) -> Entry | None:
        """The first message, for basic.get."""
        self.expire(now_s)
        return self.ready.popleft() if self.ready else None

    def requeue(self, entries: Iterable[Entry], now_s: float) -> None:
        """Put messages back where they stood, marked as redelivered, and serve the consumers."""
        returned = sorted(entries, key=lambda entry: entry.position)
        if not returned or self.deleted:
            return
        for entry in returned:
            entry.redelivered = True
        # Only the front of the queue can stand before the last message that comes back.
        last = returned[-1].position
        while self.ready and self.ready[0].position < last:
            returned.append(self.ready.popleft())
        returned.sort(key=lambda entry: entry.position)
        self.ready.extendleft(reversed(returned))
        self.serve(now_s)
        self._limit_length()

    def reject(self, entries: Sequence[Entry]) -> None:
        """Messages that a consumer does not want back."""
        if entries and not self.deleted:
            self._on_dead(self, entries, "rejected")

    def expire(self, now_s: float) -> None:
        """Drop expired messages from the front; behind an unexpired one they wait, as in RabbitMQ."""
        dead = []
        while self.ready and (expires_s := self.ready[0].expires_s) is not None and expires_s <= now_s:
            dead.append(self.ready.popleft())
        if dead:
            self._on_dead(self, dead, "expired")

    def next_expiry_s(self) -> float | None:
        """When the first message expires, if it ever does."""
        return self.ready[0].expires_s if self.ready else None

    def _limit_length(self) -> None:
        limit = self.arguments.max_length
        if limit is not None and len(self.ready) > limit:
            dead = [self.ready.popleft() for _ in range(len(self.ready) - limit)]
            self._on_dead(self, dead, "maxlen")

    def forget_transient(self) -> None:
        """Drop what a broker that was down does not find on its disk."""
        self.ready = deque(entry for entry in self.ready if entry.message.persistent)

    def purge(self) -> int:
        """Drop what is ready; how many messages that were."""
        count = len(self.ready)
        self.ready.clear()
        return count
