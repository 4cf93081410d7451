"""Follows the methods that are no messages: declarations, bindings, consumers, confirm mode, channels.

A request takes effect when the broker's reply passes (or at once with no-wait), because a queue that was refused
does not exist, and because only the reply names a server-named queue or consumer tag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from pamqp import base, commands

from chaoskit.proxy import wire
from chaoskit.proxy.channel import Channel, Consumer, Request
from chaoskit.proxy.events import ChangeKind, Login, OnLogin
from chaoskit.proxy.topology import Binding, Topology

_REPLIES: dict[int, frozenset[int]] = {
    request.index: frozenset(replies)
    for request, replies in (
        (commands.Queue.Declare, [commands.Queue.DeclareOk.index]),
        (commands.Queue.Bind, [commands.Queue.BindOk.index]),
        (commands.Queue.Unbind, [commands.Queue.UnbindOk.index]),
        (commands.Queue.Delete, [commands.Queue.DeleteOk.index]),
        (commands.Exchange.Declare, [commands.Exchange.DeclareOk.index]),
        (commands.Exchange.Delete, [commands.Exchange.DeleteOk.index]),
        (commands.Exchange.Bind, [commands.Exchange.BindOk.index]),
        (commands.Exchange.Unbind, [commands.Exchange.UnbindOk.index]),
        (commands.Basic.Consume, [commands.Basic.ConsumeOk.index]),
        (commands.Basic.Cancel, [commands.Basic.CancelOk.index]),
        (commands.Basic.Get, [commands.Basic.GetOk.index, commands.Basic.GetEmpty.index]),
    )
}
_ALL_REPLIES = frozenset[int]().union(*_REPLIES.values()) - {wire.BASIC_GET_OK}

_M = TypeVar("_M", bound=base.Frame)


class Control:
    """The channels of one connection. `on_change` hears of consumers that come and go, `on_login` who it is."""

    def __init__(
        self, topology: Topology, on_change: Callable[[ChangeKind, str], None], on_login: OnLogin | None = None
    ) -> None:
        self._topology = topology
        self._on_change = on_change
        self._on_login = on_login
        self._who = ("", "")
        self._channels: dict[int, Channel] = {}
        self._exclusive_queues: set[str] = set()

    def channel(self, number: int) -> Channel:
        """The state of a channel; a new one when the number was not in use."""
        found = self._channels.get(number)
        if found is None:
            found = self._channels[number] = Channel()
        return found

    def consumers(self) -> Counter[str]:
        """How many consumers this connection has on each queue."""
        return Counter(c.queue for channel in self._channels.values() for c in channel.consumers.values())

    def unacked(self) -> Counter[str]:
        """How many messages of each queue were delivered here and are not settled."""
        return Counter(m.queue for channel in self._channels.values() for m in channel.unacked.values())

    def close(self) -> None:
        """The connection is gone: its consumers and exclusive queues are, too."""
        for number in list(self._channels):
            self._close_channel(number)
        for queue in self._exclusive_queues:
            self._topology.delete_queue(queue)
        self._exclusive_queues.clear()

    def from_client(self, number: int, method_id: int, raw: bytes) -> None:
        """Follow a method that the client sends. Raises wire.MalformedFrameError."""
        if method_id in _REPLIES:
            self._request(number, method_id, wire.decode_method(raw))
        elif method_id == wire.CONFIRM_SELECT:
            self.channel(number).confirming = True
        elif method_id in (wire.CHANNEL_OPEN, wire.CHANNEL_CLOSE_OK):
            self._close_channel(number)
        elif method_id in (wire.BASIC_RECOVER, wire.BASIC_RECOVER_ASYNC):
            self.channel(number).unacked.clear()
        elif method_id in (wire.CONNECTION_START_OK, wire.CONNECTION_OPEN):
            self._log_in(wire.decode_method(raw))

    def _log_in(self, method: base.Frame) -> None:
        """Only PLAIN tells who it is; whoever logs in otherwise stays unknown."""
        if isinstance(method, commands.Connection.StartOk) and method.mechanism == "PLAIN":
            _, user, password = (*str(method.response).split("\0"), "", "")[:3]
            self._who = user, password
        elif isinstance(method, commands.Connection.Open) and self._who[0] and self._on_login is not None:
            self._on_login(Login(*self._who, method.virtual_host or "/"))

    def from_broker(self, number: int, method_id: int, raw: bytes) -> None:
        """Follow a method that the broker sends. Raises wire.MalformedFrameError."""
        if method_id in _ALL_REPLIES:
            request = self.channel(number).answer(method_id)
            if request is not None:
                self._apply(self.channel(number), request, wire.decode_method(raw))
        elif method_id == wire.CHANNEL_CLOSE_OK:
            self._close_channel(number)
        elif method_id == wire.BASIC_CANCEL:
            self._cancel(self.channel(number), wire.decode_method(raw))

    def _request(self, number: int, method_id: int, method: base.Frame) -> None:
        channel = self.channel(number)
        if getattr(method, "nowait", False):
            self._apply(channel, method, None)
        else:
            channel.requests.append(Request(method, _REPLIES[method_id]))

    def _apply(self, channel: Channel, request: base.Frame, reply: base.Frame | None) -> None:
        if isinstance(request, commands.Basic.Consume):
            self._consume(channel, request, reply)
        elif isinstance(request, commands.Basic.Cancel):
            self._cancel(channel, request)
        elif isinstance(request, commands.Queue.Declare):
            self._declare_queue(channel, request, reply)
        else:
            self._apply_topology(channel, request)

    def _consume(self, channel: Channel, request: commands.Basic.Consume, reply: base.Frame | None) -> None:
        tag = reply.consumer_tag if isinstance(reply, commands.Basic.ConsumeOk) else request.consumer_tag
        queue = request.queue or channel.last_queue
        channel.consumers[tag or ""] = Consumer(queue, bool(request.no_ack))
        self._on_change("consuming", queue)

    def _cancel(self, channel: Channel, method: base.Frame) -> None:
        if isinstance(method, commands.Basic.Cancel):
            consumer = channel.consumers.pop(method.consumer_tag or "", None)
            if consumer is not None:
                self._on_change("cancelled", consumer.queue)

    def _declare_queue(self, channel: Channel, request: commands.Queue.Declare, reply: base.Frame | None) -> None:
        queue = reply.queue if isinstance(reply, commands.Queue.DeclareOk) else request.queue
        channel.last_queue = queue or ""
        if request.exclusive:
            self._exclusive_queues.add(channel.last_queue)

    def _apply_topology(self, channel: Channel, request: base.Frame) -> None:
        topology = self._topology
        match request:
            case commands.Exchange.Declare():
                # A passive declaration carries no type of its own, it only asks whether the exchange exists.
                if not request.passive:
                    topology.declare_exchange(request.exchange, request.exchange_type)
            case commands.Exchange.Delete():
                topology.delete_exchange(request.exchange)
            case commands.Exchange.Bind():
                topology.bind(request.source, Binding(request.routing_key, request.destination, True))
            case commands.Exchange.Unbind():
                topology.unbind(request.source, Binding(request.routing_key, request.destination, True))
            case commands.Queue.Bind():
                topology.bind(request.exchange, _queue_binding(channel, request))
            case commands.Queue.Unbind():
                topology.unbind(request.exchange, _queue_binding(channel, request))
            case commands.Queue.Delete():
                topology.delete_queue(request.queue or channel.last_queue)

    def _close_channel(self, number: int) -> None:
        channel = self._channels.pop(number, None)
        for consumer in channel.consumers.values() if channel else ():
            self._on_change("cancelled", consumer.queue)


def _queue_binding(channel: Channel, method: commands.Queue.Bind | commands.Queue.Unbind) -> Binding:
    queue = method.queue or channel.last_queue
    # AMQP 0-9-1, queue.bind: with an empty queue name an empty routing key stands for the queue's name, too.
    unnamed = not method.queue and not method.routing_key
    return Binding(queue if unnamed else method.routing_key, queue, False)
