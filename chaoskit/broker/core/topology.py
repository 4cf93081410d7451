"""The exchange.* and queue.* methods.

Each function takes a channel and the method that a client sent, and raises AmqpError for what RabbitMQ refuses.
exchange.bind and exchange.unbind are not here: they are refused with 540.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pamqp import commands

from chaoskit.broker.core import wire
from chaoskit.broker.core.channel import Channel
from chaoskit.broker.core.errors import AmqpError, Reply
from chaoskit.broker.core.exchange import Exchange
from chaoskit.broker.core.queue import Queue


def find_queue(channel: Channel, name: str) -> Queue:
    """The queue of that name, or the one that the channel declared last when the name is empty."""
    return channel.vhost.queue(queue_name(channel, name), channel.link)


def queue_name(channel: Channel, name: str) -> str:
    """An empty name means the queue that the channel declared last; raises AmqpError 404 without one."""
    if name:
        return name
    if channel.last_queue is None:
        raise AmqpError(Reply.NOT_FOUND, "no previously declared queue")
    return channel.last_queue


def _refuse_default_exchange(name: str) -> None:
    if not name:
        raise AmqpError(Reply.ACCESS_REFUSED, "operation not permitted on the default exchange")


def exchange_declare(channel: Channel, method: commands.Exchange.Declare) -> None:
    _refuse_default_exchange(method.exchange)
    if method.passive:
        channel.vhost.exchange(method.exchange)
    else:
        channel.vhost.declare_exchange(
            method.exchange,
            method.exchange_type,
            durable=method.durable,
            auto_delete=method.auto_delete,
            internal=method.internal,
            table=method.arguments or {},
        )
    if not method.nowait:
        channel.send(commands.Exchange.DeclareOk())


def exchange_delete(channel: Channel, method: commands.Exchange.Delete) -> None:
    _refuse_default_exchange(method.exchange)
    channel.vhost.delete_exchange(method.exchange, method.if_unused)
    if not method.nowait:
        channel.send(commands.Exchange.DeleteOk())


def queue_declare(channel: Channel, method: commands.Queue.Declare) -> None:
    queue = _check_queue(channel, method) if method.passive else _make_queue(channel, method)
    channel.last_queue = queue.name
    if not method.nowait:
        ready, consumers = len(queue.ready), len(queue.consumers)
        channel.link.write(wire.encode_declare_ok(channel.number, queue.name, ready, consumers))


def _check_queue(channel: Channel, method: commands.Queue.Declare) -> Queue:
    queue = channel.vhost.queue(method.queue, channel.link)
    queue.expire(channel.vhost.now_s)
    return queue


def _make_queue(channel: Channel, method: commands.Queue.Declare) -> Queue:
    queue = channel.vhost.declare_queue(
        method.queue,
        durable=method.durable,
        auto_delete=method.auto_delete,
        owner=channel.link if method.exclusive else None,
        user=channel.link,
        table=method.arguments or {},
    )
    queue.expire(channel.vhost.now_s)
    return queue


def _binding_ends(channel: Channel, method: Any) -> tuple[Exchange, Queue, str]:
    name = queue_name(channel, method.queue)
    _refuse_default_exchange(method.exchange)
    exchange = channel.vhost.exchange(method.exchange)
    queue = channel.vhost.queue(name, channel.link)
    # Without a queue name the routing key, too, falls back to the queue declared last.
    key = method.routing_key if method.queue or method.routing_key else queue.name
    return exchange, queue, key


def queue_bind(channel: Channel, method: commands.Queue.Bind) -> None:
    exchange, queue, routing_key = _binding_ends(channel, method)
    exchange.bind(queue, routing_key, method.arguments or {})
    if not method.nowait:
        channel.send(commands.Queue.BindOk())


def queue_unbind(channel: Channel, method: commands.Queue.Unbind) -> None:
    try:
        exchange, queue, routing_key = _binding_ends(channel, method)
    except AmqpError as error:
        # A binding whose queue or exchange is gone is gone too, which is what the client wants.
        if error.code != Reply.NOT_FOUND:
            raise
    else:
        if exchange.unbind(queue, routing_key, method.arguments or {}):
            channel.vhost.drop_if_unused(exchange)
    channel.send(commands.Queue.UnbindOk())


def queue_purge(channel: Channel, method: commands.Queue.Purge) -> None:
    count = find_queue(channel, method.queue).purge()
    if not method.nowait:
        channel.send(commands.Queue.PurgeOk(count))


def queue_delete(channel: Channel, method: commands.Queue.Delete) -> None:
    name = queue_name(channel, method.queue)
    # Deleting what is not there succeeds, so that two clients may clean up after each other.
    count = _delete(channel, find_queue(channel, name), method) if name in channel.vhost.queues else 0
    if not method.nowait:
        channel.send(commands.Queue.DeleteOk(count))


def _delete(channel: Channel, queue: Queue, method: commands.Queue.Delete) -> int:
    where = f"queue '{queue.name}' in vhost '/'"
    if method.if_unused and queue.consumers:
        raise AmqpError(Reply.PRECONDITION_FAILED, f"{where} in use")
    if method.if_empty and queue.ready:
        raise AmqpError(Reply.PRECONDITION_FAILED, f"{where} not empty")
    return channel.vhost.delete_queue(queue)


HANDLERS: dict[type[Any], Callable[[Channel, Any], None]] = {
    commands.Exchange.Declare: exchange_declare,
    commands.Exchange.Delete: exchange_delete,
    commands.Queue.Declare: queue_declare,
    commands.Queue.Bind: queue_bind,
    commands.Queue.Unbind: queue_unbind,
    commands.Queue.Purge: queue_purge,
    commands.Queue.Delete: queue_delete,
}
