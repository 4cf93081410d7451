"""The virtual host `/`: its exchanges and queues by name, routing, dead-lettering and the time.

All connections of a broker share one. It does not know channels or the wire: a consumer is told through its queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from pamqp.common import FieldTable

from chaoskit.broker.core.arguments import (
    QueueArguments,
    check_arguments_equivalent,
    check_equivalent,
    read_queue_arguments,
)
from chaoskit.broker.core.deadletter import bury, in_cycle
from chaoskit.broker.core.errors import AmqpError, Reply, not_implemented
from chaoskit.broker.core.exchange import MATCHERS, Exchange
from chaoskit.broker.core.message import Message
from chaoskit.broker.core.queue import Entry, Queue

_PREDECLARED = {"": "direct", "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic"}
_LOCKED = (
    "cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be originally declared on "
    "another connection or the exclusive property value does not match that of the original declaration."
)


class VirtualHost:
    """Exchanges and queues. `new_name` makes the 22 characters behind `amq.gen-` and `amq.ctag-`.

    `now_s` is the time of the event that is being handled; whoever hands an event in sets it. `epoch_offset_s` added to
    it gives seconds since 1970.
    """

    def __init__(self, new_name: Callable[[], str], epoch_offset_s: float = 0.0) -> None:
        self.new_name = new_name
        self.epoch_offset_s = epoch_offset_s
        self.now_s = 0.0
        self.queues: dict[str, Queue] = {}
        self.exchanges: dict[str, Exchange] = {}
        self._with_expiry: set[Queue] = set()
        self._dead: deque[tuple[Queue, Message]] = deque()
        self._burying = False
        self.clear()

    def clear(self) -> None:
        """Back to what a fresh broker has."""
        for queue in self.queues.values():
            queue.deleted = True
        self.queues.clear()
        self._with_expiry.clear()
        self._dead.clear()
        self.exchanges = {name: Exchange(name, kind, True, False, {}) for name, kind in _PREDECLARED.items()}

    def forget_transient(self) -> None:
        """Back to what a broker finds when it is started again: what is durable, and persistent messages in it.

        Every connection has to be gone. Source: RabbitMQ's guides "Queues" (durability) and "Publishers" (delivery
        mode).
        """
        for queue in list(self.queues.values()):
            if queue.durable:
                queue.forget_transient()
            else:
                self.delete_queue(queue)
        self.exchanges = {name: exchange for name, exchange in self.exchanges.items() if exchange.durable}

    def queue(self, name: str, user: object) -> Queue:
        """The queue as the connection `user` may use it; raises AmqpError 404, or 405 when another one owns it."""
        queue = self.queues.get(name)
        if queue is None:
            raise AmqpError(Reply.NOT_FOUND, f"no queue '{name}' in vhost '/'")
        if queue.owner is not None and queue.owner is not user:
            raise AmqpError(Reply.RESOURCE_LOCKED, _LOCKED.format(name=name))
        return queue

    def exchange(self, name: str) -> Exchange:
        """Raises AmqpError 404."""
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise AmqpError(Reply.NOT_FOUND, f"no exchange '{name}' in vhost '/'")
        return exchange

    def declare_queue(
        self, name: str, *, durable: bool, auto_delete: bool, owner: object | None, user: object, table: FieldTable
    ) -> Queue:
        """Make the queue, or check that it is the same; raises AmqpError 403, 405, 406, 540."""
        if name in self.queues:
            return self._redeclare(self.queue(name, user), durable, auto_delete, owner, table)
        if name.startswith("amq."):
            raise _reserved("queue", name)
        return self._add_queue(name or f"amq.gen-{self.new_name()}", durable, auto_delete, owner, table)

    def _redeclare(
        self, queue: Queue, durable: bool, auto_delete: bool, owner: object | None, table: FieldTable
    ) -> Queue:
        if queue.owner is not owner:
            raise AmqpError(Reply.RESOURCE_LOCKED, _LOCKED.format(name=queue.name))
        what = f"queue '{queue.name}'"
        current = {"durable": queue.durable, "auto_delete": queue.auto_delete}
        check_equivalent(what, current, {"durable": durable, "auto_delete": auto_delete})
        check_arguments_equivalent(what, queue.arguments.table, table)
        return queue

    def _add_queue(self, name: str, durable: bool, auto_delete: bool, owner: object | None, table: FieldTable) -> Queue:
        arguments: QueueArguments = read_queue_arguments(table, name)
        queue = Queue(
            name,
            durable=durable,
            auto_delete=auto_delete,
            owner=owner,
            arguments=arguments,
            on_dead=self._on_dead,
        )
        self.queues[name] = queue
        return queue

    def delete_queue(self, queue: Queue) -> int:
        """Remove it with its messages and bindings, and tell its consumers; how many messages were ready."""
        queue.deleted = True
        del self.queues[queue.name]
        self._with_expiry.discard(queue)
        for exchange in list(self.exchanges.values()):
            if exchange.forget(queue):
                self.drop_if_unused(exchange)
        for consumer in queue.consumers:
            consumer.channel.queue_is_gone(consumer)
        queue.consumers.clear()
        return queue.purge()

    def declare_exchange(
        self, name: str, kind: str, *, durable: bool, auto_delete: bool, internal: bool, table: FieldTable
    ) -> None:
        """Make the exchange, or check that it is the same; raises AmqpError 403, 406, 503, 540."""
        if kind not in MATCHERS:
            raise _unknown_kind(kind)
        if name in self.exchanges:
            exchange = self.exchanges[name]
            current = {
                "type": exchange.kind,
                "durable": exchange.durable,
                "auto_delete": exchange.auto_delete,
                "internal": False,
            }
            received = {"type": kind, "durable": durable, "auto_delete": auto_delete, "internal": internal}
            check_equivalent(f"exchange '{name}'", current, received)
            return
        if name.startswith("amq."):
            raise _reserved("exchange", name)
        if internal or "alternate-exchange" in table:
            raise not_implemented("an internal exchange" if internal else "exchange argument alternate-exchange")
        self.exchanges[name] = Exchange(name, kind, durable, auto_delete, table)

    def delete_exchange(self, name: str, if_unused: bool) -> None:
        """Remove it; one that does not exist is fine. Raises AmqpError 403, 406."""
        if name in _PREDECLARED:
            raise AmqpError(Reply.ACCESS_REFUSED, f"deletion of system exchange '{name}' in vhost '/' not allowed")
        exchange = self.exchanges.get(name)
        if exchange is not None and if_unused and exchange.in_use:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"exchange '{name}' in vhost '/' in use")
        self.exchanges.pop(name, None)

    def drop_if_unused(self, exchange: Exchange) -> None:
        """An auto-delete exchange goes with its last binding."""
        if exchange.auto_delete and not exchange.in_use:
            self.exchanges.pop(exchange.name, None)

    def publish(self, exchange: Exchange, message: Message) -> bool:
        """Route a message; whether any queue took it."""
        routes = self._routes(exchange, message)
        for queue in routes:
            self._append(queue, message)
        return bool(routes)

    def _routes(self, exchange: Exchange, message: Message) -> Sequence[Queue]:
        if exchange.name:
            return exchange.route(message.routing_key)
        queue = self.queues.get(message.routing_key)
        return () if queue is None else (queue,)

    def _append(self, queue: Queue, message: Message) -> None:
        if message.expiration_ms is not None or queue.arguments.message_ttl_ms is not None:
            self._with_expiry.add(queue)
        queue.publish(message, self.now_s)

    def expire(self) -> None:
        """Drop what has expired by `now_s`."""
        for queue in list(self._with_expiry):
            queue.expire(self.now_s)

    def next_expiry_s(self) -> float | None:
        """When the next message expires, on the clock of `now_s`."""
        times = [expires_s for queue in self._with_expiry if (expires_s := queue.next_expiry_s()) is not None]
        return min(times, default=None)

    def _on_dead(self, queue: Queue, entries: Sequence[Entry], reason: str) -> None:
        self._dead.extend(self._buried(queue, entries, reason))
        # A dead letter can push another message out of the next queue: a list of work instead of recursion.
        if self._burying:
            return
        self._burying = True
        try:
            while self._dead:
                self._append(*self._dead.popleft())
        finally:
            self._burying = False

    def _buried(self, queue: Queue, entries: Sequence[Entry], reason: str) -> Iterator[tuple[Queue, Message]]:
        exchange = self.exchanges.get(queue.arguments.dead_letter_exchange or "")
        if queue.arguments.dead_letter_exchange is None or exchange is None:
            return
        time_s, key = self.now_s + self.epoch_offset_s, queue.arguments.dead_letter_routing_key
        for entry in entries:
            message = bury(entry.message, queue.name, reason, time_s, exchange.name, key)
            for target in self._routes(exchange, message):
                if reason == "rejected" or not in_cycle(message, target.name):
                    yield target, message


def _reserved(what: str, name: str) -> AmqpError:
    return AmqpError(Reply.ACCESS_REFUSED, f"{what} name '{name}' contains reserved prefix 'amq.*'")


def _unknown_kind(kind: str) -> AmqpError:
    if kind == "headers":
        return not_implemented("a headers exchange")
    return AmqpError(Reply.PRECONDITION_FAILED, f"unknown exchange type '{kind}'")
