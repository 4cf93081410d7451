"""A channel: what it holds unsettled, its consumers, its limits, its publisher confirms.

The methods that clients call are in `basic` and `topology`; this is the state that they share, and what happens to it
when the channel dies. It does not decide when a channel is closed: `connection` does.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pamqp import base, commands

from chaoskit.broker.core import wire
from chaoskit.broker.core.errors import AmqpError, Reply
from chaoskit.broker.core.queue import Consumer, Entry, Queue
from chaoskit.broker.core.vhost import VirtualHost


class Link(Protocol):
    """What a channel needs of its connection."""

    vhost: VirtualHost
    user: str
    max_frame_bytes: int
    max_message_bytes: int
    wants_cancel_notices: bool

    def write(self, data: bytes) -> None:
        """Queue bytes for the client."""

    def confirm_later(self, channel: Channel) -> None:
        """Call `send_confirms` before control goes back to the socket."""


class Held(NamedTuple):
    """A delivery that waits for its acknowledgement; `consumer` is None after basic.get."""

    entry: Entry
    queue: Queue
    consumer: Consumer | None


class Content:
    """A message on its way in: the publish is known, header and body are still coming."""

    def __init__(self, publish: wire.Publish) -> None:
        self.publish = publish
        self.properties: bytes | None = None
        self.size_bytes = 0
        self.received_bytes = 0
        self.chunks: list[bytes] = []


class Channel:
    """State of one open channel."""

    def __init__(self, number: int, link: Link) -> None:
        self.number = number
        self.link = link
        self.closing = False
        self.consumers: dict[str, Consumer] = {}
        self.held: dict[int, Held] = {}
        self.prefetch = 0
        self.shared_prefetch = 0
        self.last_queue: str | None = None
        self.content: Content | None = None
        self.confirming = False
        self._shared_unacked = 0
        self._last_delivery_tag = 0
        self._last_publish = 0
        self._last_confirmed = 0

    @property
    def vhost(self) -> VirtualHost:
        return self.link.vhost

    def send(self, method: base.Frame) -> None:
        """Queue a method for the client."""
        self.link.write(wire.encode_method(self.number, method))

    def has_credit(self) -> bool:
        """Whether the limit that all consumers of the channel share leaves room for one more message."""
        return not self.shared_prefetch or self._shared_unacked < self.shared_prefetch

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send a message to a consumer, and hold it unless the consumer acknowledges nothing."""
        tag = self.next_delivery_tag()
        message = entry.message
        self.link.write(
            wire.encode_deliver(
                self.number, consumer.tag, tag, entry.redelivered, message.exchange, message.routing_key
            )
        )
        self.send_content(entry)
        if not consumer.no_ack:
            consumer.unacked += 1
            self._shared_unacked += 1
            self.hold(tag, Held(entry, consumer.queue, consumer))

    def send_content(self, entry: Entry) -> None:
        """The frames behind basic.deliver and basic.get-ok."""
        message = entry.message
        self.link.write(wire.encode_content(self.number, message.properties, message.body, self.link.max_frame_bytes))

    def next_delivery_tag(self) -> int:
        """Delivery tags count from 1 and are never used twice on a channel."""
        self._last_delivery_tag += 1
        return self._last_delivery_tag

    def hold(self, tag: int, held: Held) -> None:
        """Keep a delivery until it is settled."""
        self.held[tag] = held
        held.queue.unacked += 1

    def release(self, tag: int, multiple: bool) -> list[Held]:
        """The deliveries that a client settles, oldest first; raises AmqpError 406 for a tag that is not held."""
        if tag == 0 and multiple:
            tags = list(self.held)
        elif tag not in self.held:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"unknown delivery tag {tag}")
        else:
            tags = [known for known in self.held if known <= tag] if multiple else [tag]
        return [self._release(known) for known in tags]

    def _release(self, tag: int) -> Held:
        held = self.held.pop(tag)
        held.queue.unacked -= 1
        if held.consumer is not None:
            held.consumer.unacked -= 1
            self._shared_unacked -= 1
        return held

    def requeue(self, released: list[Held]) -> None:
        """Put deliveries back into their queues, in their places."""
        by_queue: dict[Queue, list[Entry]] = {}
        for held in released:
            by_queue.setdefault(held.queue, []).append(held.entry)
        for queue, entries in by_queue.items():
            queue.requeue(entries, self.vhost.now_s)

    def serve(self, released: list[Held]) -> None:
        """After room was made: let the queues that can use it deliver."""
        if self.shared_prefetch:
            queues = dict.fromkeys(consumer.queue for consumer in self.consumers.values())
        else:
            queues = dict.fromkeys(held.queue for held in released)
        for queue in queues:
            queue.serve(self.vhost.now_s)

    def count_publish(self) -> None:
        """In confirm mode, note that one more message has been dealt with."""
        if self.confirming:
            self._last_publish += 1
            self.link.confirm_later(self)

    def send_confirms(self) -> None:
        """Confirm everything that was dealt with since the last time, in one method."""
        unconfirmed = self._last_publish - self._last_confirmed
        if unconfirmed and not self.closing:
            self.link.write(wire.encode_ack(self.number, self._last_publish, unconfirmed > 1))
        self._last_confirmed = self._last_publish

    def drop_consumer(self, consumer: Consumer) -> None:
        """End a subscription; an auto-delete queue goes with its last one. What it holds stays held."""
        del self.consumers[consumer.tag]
        queue = consumer.queue
        if queue.deleted:
            return
        queue.consumers.remove(consumer)
        if queue.auto_delete and not queue.consumers:
            self.vhost.delete_queue(queue)

    def queue_is_gone(self, consumer: Consumer) -> None:
        """The queue of a consumer was deleted: forget it, and tell the client if it wants to know."""
        self.consumers.pop(consumer.tag, None)
        if self.link.wants_cancel_notices:
            self.send(commands.Basic.Cancel(consumer.tag, True))

    def detach(self) -> list[Held]:
        """The channel is over: its consumers end; what it held is for the caller to requeue."""
        # Requeueing comes after all consumers of all channels that end together are gone, so that nothing is
        # delivered to a channel that is about to end.
        self.closing = True
        self.content = None
        held = self.release(0, multiple=True)
        for consumer in list(self.consumers.values()):
            self.drop_consumer(consumer)
        return held
