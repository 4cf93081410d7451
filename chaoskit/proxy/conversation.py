"""The proxy's core for one connection: two lanes, what passes in them, and what the engine says to it. No I/O.

Feed the lanes with the bytes of the two sockets; every message and acknowledgement is shown to `on_message` before
its bytes come out, and the answer is applied. Confirms are renumbered once a publish was dropped, because the
broker counts only what reached it while the publisher counts what it sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from chaoskit.proxy import wire
from chaoskit.proxy.channel import Channel, Confirmed, Consumer, Message
from chaoskit.proxy.control import Control
from chaoskit.proxy.events import (
    FORWARD,
    PREVIEW_BYTES,
    Action,
    Change,
    ChangeKind,
    Counts,
    Drop,
    Duplicate,
    Forward,
    Kind,
    OnChange,
    OnLogin,
    OnMessage,
    Seen,
)
from chaoskit.proxy.lane import Copy, Decision, Lane, Unit, forward
from chaoskit.proxy.topology import Topology, name_unresolved

# Before frame-max is negotiated only short method frames are legal, but how short depends on the broker.
_OPENING_FRAME_LIMIT_BYTES = 1 << 20
_SETTLING: dict[int, Kind] = {
    wire.BASIC_ACK: "acked",
    wire.BASIC_NACK: "nacked",
    wire.BASIC_REJECT: "rejected",
}


class Sighting(NamedTuple):
    """A message as it is shown to the engine, before it is numbered."""

    kind: Kind
    message: Message
    channel: int
    delivery_tag: int = 0
    multiple: bool = False


class Conversation:
    """One connection of one program. Public: the two lanes, `consumers`, `stop` and `close`."""

    def __init__(
        self,
        program: str,
        on_message: OnMessage,
        on_change: OnChange,
        counts: Counts,
        topology: Topology,
        hold_limit_bytes: int,
        on_login: OnLogin | None = None,
    ) -> None:
        self._program = program
        self._on_message = on_message
        self._on_change = on_change
        self._counts = counts
        self._topology = topology
        self._control = Control(topology, self._tell, on_login)
        limits = (_OPENING_FRAME_LIMIT_BYTES, hold_limit_bytes)
        on_opaque = partial(self._tell, "opaque")
        self.client_lane = Lane(self._judge_client, on_opaque, *limits)
        """What the client sends."""
        self.broker_lane = Lane(self._judge_broker, on_opaque, *limits)
        """What the broker sends."""

    def consumers(self) -> Counter[str]:
        """How many consumers the program has on each queue."""
        return self._control.consumers()

    def unacked(self) -> Counter[str]:
        """How many messages of each queue the program has not settled."""
        return self._control.unacked()

    def stop(self) -> None:
        """Judge and pass on nothing more."""
        self.client_lane.stop()
        self.broker_lane.stop()

    def close(self) -> None:
        """The connection is gone."""
        self._control.close()

    def _tell(self, kind: ChangeKind, detail: str) -> None:
        self._on_change(Change(kind, self._program, detail))

    def _judge_client(self, unit: Unit) -> Decision:
        if unit.method_id == wire.BASIC_PUBLISH:
            return self._judge_publish(unit)
        if unit.method_id in _SETTLING:
            return self._judge_settling(unit)
        try:
            self._control.from_client(unit.channel, unit.method_id, unit.frames[0])
            if unit.method_id == wire.CONNECTION_TUNE_OK:
                self._limit_frames(unit.frames[0])
        except wire.MalformedFrameError:
            return forward(unit)
        return forward(unit)

    def _judge_broker(self, unit: Unit) -> Decision:
        if unit.method_id in wire.CONTENT_METHODS:
            return self._judge_content(unit)
        if unit.method_id in (wire.BASIC_ACK, wire.BASIC_NACK):
            return self._judge_confirm(unit)
        try:
            self._control.from_broker(unit.channel, unit.method_id, unit.frames[0])
        except wire.MalformedFrameError:
            return forward(unit)
        return forward(unit)

    def _limit_frames(self, raw: bytes) -> None:
        limit_bytes = int.from_bytes(raw[13:17], "big")
        for lane in (self.client_lane, self.broker_lane):
            lane.limit_frames(limit_bytes)

    def _judge_publish(self, unit: Unit) -> Decision:
        try:
            exchange, routing_key = wire.read_publish(unit.frames[0])
            message = _message(unit, "", exchange, routing_key)
        except wire.MalformedFrameError:
            return forward(unit)
        queues = self._topology.resolve(exchange, routing_key)
        messages = tuple(message._replace(queue=queue) for queue in queues or [name_unresolved(exchange, routing_key)])
        action = self._ask([Sighting("published", m, unit.channel) for m in messages])
        self._control.channel(unit.channel).publish(messages, dropped=isinstance(action, Drop))
        return self._decide(unit, action, exchange, routing_key)

    def _judge_settling(self, unit: Unit) -> Decision:
        try:
            tag, multiple = wire.read_settle(unit.frames[0])
        except wire.MalformedFrameError:
            return forward(unit)
        settled = self._control.channel(unit.channel).settle(tag, multiple)
        kind = _SETTLING[unit.method_id]
        action = self._ask([Sighting(kind, m, unit.channel, t, multiple) for t, m in settled])
        return self._decide(unit, action)

    def _judge_content(self, unit: Unit) -> Decision:
        try:
            returned = unit.method_id == wire.BASIC_RETURN
            sighting = self._read_return(unit) if returned else self._read_delivery(unit)
        except wire.MalformedFrameError:
            return forward(unit)
        # A copy of a delivery is published to the queue itself, past the exchange it once came through.
        return self._decide(unit, self._ask([sighting]), "", sighting.message.queue)

    def _read_return(self, unit: Unit) -> Sighting:
        exchange, routing_key = wire.read_return(unit.frames[0])
        queue = name_unresolved(exchange, routing_key) if exchange else routing_key
        return Sighting("returned", _message(unit, queue, exchange, routing_key), unit.channel)

    def _read_delivery(self, unit: Unit) -> Sighting:
        channel = self._control.channel(unit.channel)
        if unit.method_id == wire.BASIC_DELIVER:
            fields = wire.read_deliver(unit.frames[0])
            consumer = channel.consumers.get(fields.consumer_tag)
        else:
            fields = wire.read_get_ok(unit.frames[0])
            consumer = _getter(channel)
        unknown = Consumer(name_unresolved(fields.exchange, fields.routing_key), no_ack=False)
        queue, no_ack = consumer or unknown
        message = _message(unit, queue, fields.exchange, fields.routing_key)
        message = message._replace(redelivered=fields.redelivered)
        if not no_ack:
            channel.unacked[fields.delivery_tag] = message
        return Sighting("delivered", message, unit.channel, fields.delivery_tag)

    def _judge_confirm(self, unit: Unit) -> Decision:
        try:
            tag, multiple = wire.read_settle(unit.frames[0])
        except wire.MalformedFrameError:
            return forward(unit)
        channel = self._control.channel(unit.channel)
        confirmed = channel.confirm(tag, multiple)
        kind: Kind = "confirmed" if unit.method_id == wire.BASIC_ACK else "unconfirmed"
        action = self._ask(
            [Sighting(kind, m, unit.channel, c.client_tag, multiple) for c in confirmed for m in c.messages]
        )
        decision = self._decide(unit, action)
        return replace(decision, raw=_renumber(unit, confirmed)) if channel.dropped else decision

    def _ask(self, sightings: list[Sighting]) -> Action:
        """Show every message; the first answer that is not to forward holds for the frame they share."""
        answers = [self._on_message(self._number(sighting)) for sighting in sightings]
        return next((answer for answer in answers if not isinstance(answer, Forward)), FORWARD)

    def _number(self, sighting: Sighting) -> Seen:
        kind, message, channel, delivery_tag, multiple = sighting
        return Seen(
            kind,
            self._program,
            message.queue,
            self._counts.advance(kind, message.queue),
            message.exchange,
            message.routing_key,
            message.message_id,
            message.size_bytes,
            message.preview,
            channel,
            delivery_tag,
            multiple,
            message.redelivered,
            injected=False,
            whole=message.whole,
        )

    def _decide(self, unit: Unit, action: Action, exchange: str = "", routing_key: str = "") -> Decision:
        if isinstance(action, Duplicate):
            if len(unit.frames) > 1 and unit.method_id != wire.BASIC_RETURN and unit.whole:
                return Decision(action, unit.raw(), _copy(unit, action, exchange, routing_key))
            self._tell("copy-lost", "only a published or delivered message that is held can be duplicated")
        elif isinstance(action, Drop) and unit.method_id not in (wire.BASIC_PUBLISH, *_SETTLING):
            raise ValueError("Drop is for what the client sends: use Delay or Cut for the broker's messages")
        return Decision(action, unit.raw())


def _getter(channel: Channel) -> Consumer | None:
    request = channel.answer(wire.BASIC_GET_OK)
    if request is None:
        return None
    return Consumer(getattr(request, "queue", "") or channel.last_queue, bool(getattr(request, "no_ack", False)))


def _message(unit: Unit, queue: str, exchange: str, routing_key: str) -> Message:
    preview = wire.payload_of(unit.frames[2])[:PREVIEW_BYTES] if len(unit.frames) > 2 else b""
    message_id = wire.read_message_id(unit.frames[1])
    return Message(
        queue, exchange, routing_key, message_id, unit.body_bytes, preview, redelivered=False, whole=unit.whole
    )


def _copy(unit: Unit, action: Duplicate, exchange: str, routing_key: str) -> Copy:
    header_payload = wire.payload_of(unit.frames[1])
    return Copy(exchange, routing_key, header_payload, unit.body(), action.copies, action.late)


def _renumber(unit: Unit, confirmed: list[Confirmed]) -> bytes:
    return b"".join(wire.make_ack(unit.method_id, unit.channel, c.client_tag) for c in confirmed)
