"""One direction of one connection: bytes in, bytes out, with whole messages judged on the way. No I/O, no clock.

A message is held until its last body frame is there, judged, and then passed on in one piece with every frame as
it came. Frames of other channels pass a held message, which the protocol allows: order is kept within a channel.
A message with a larger body than `hold_limit_bytes` is judged at its header and its body is streamed. Bytes that
are no AMQP 0-9-1 (TLS, HTTP, a broken frame) make the lane opaque: from there on everything passes unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chaoskit.proxy import wire
from chaoskit.proxy.events import FORWARD, Action, Cut, Delay, Drop


@dataclass(slots=True)
class Unit:
    """What is judged at once: a method frame, with the content header and body frames that belong to it."""

    channel: int
    method_id: int
    frames: list[bytes]
    body_bytes: int = 0
    received_bytes: int = 0
    whole: bool = True
    swallowed: bool = False

    def raw(self) -> bytes:
        """All frames, as they came."""
        return self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)

    def body(self) -> bytes:
        """The body; empty when the message is not whole."""
        return b"".join([wire.payload_of(raw) for raw in self.frames[2:]])


@dataclass(frozen=True, slots=True)
class Copy:
    """A message to publish again. `header_payload` is the original content header: every property is kept."""

    exchange: str
    routing_key: str
    header_payload: bytes
    body: bytes
    count: int = 1
    late: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a unit: what to do, the bytes that stand for it, and a copy to publish afterwards."""

    action: Action
    raw: bytes
    copy: Copy | None = None


@dataclass(slots=True)
class Output:
    """What a lane wants done, in this order: write `chunks`, publish `copies`, then wait, cut or end.

    wait_s: call `Lane.resume` after so many seconds; None when the lane is not waiting. cut: break the connection
    once the chunks are written. ended: the lane is finished, no more will come.
    """

    chunks: list[bytes] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    wait_s: float | None = None
    cut: bool = False
    ended: bool = False


Judge = Callable[[Unit], Decision]


class Lane:
    """The state of one direction.

    `judge` is called for every message and every method frame, in order; `on_opaque` once, with the reason, when the
    bytes turn out to be no AMQP.
    """

    def __init__(
        self, judge: Judge, on_opaque: Callable[[str], None], frame_limit_bytes: int, hold_limit_bytes: int
    ) -> None:
        self._judge = judge
        self._on_opaque = on_opaque
        self._splitter = wire.Splitter(frame_limit_bytes)
        self._hold_limit_bytes = hold_limit_bytes
        self._open: dict[int, Unit] = {}
        self._delayed: Decision | None = None
        self._stopped = False
        self._ending = False
        self.opaque = False
        """Whether the lane stopped reading frames because the bytes are no AMQP."""

    @property
    def waiting(self) -> bool:
        """Whether a message is being delayed."""
        return self._delayed is not None and not self._stopped

    def limit_frames(self, limit_bytes: int) -> None:
        """Set the largest frame, as negotiated by the connection; 0 means no limit but the hold limit."""
        self._splitter.limit_bytes = limit_bytes or self._hold_limit_bytes + wire.FRAME_OVERHEAD_BYTES

    def feed(self, data: bytes) -> Output:
        """Take what arrived. While a message is delayed it is only stored."""
        if self.opaque and self._delayed is None:
            return Output([data])
        self._splitter.feed(data)
        return self._advance(Output())

    def resume(self) -> Output:
        """Go on after a delay."""
        out = Output()
        decision, self._delayed = self._delayed, None
        if decision is not None and not self._stopped:
            _pass_on(decision, out)
        self._advance(out)
        return self._end(out) if self._ending else out

    def finish(self) -> Output:
        """The source has ended: what is left goes out as it is, after a delay that is still running."""
        self._ending = True
        return self._end(Output())

    def stop(self) -> None:
        """Judge and pass on nothing more; for a connection that is broken from within `judge`."""
        self._stopped = True

    def _end(self, out: Output) -> Output:
        if self._delayed is not None or self._stopped:
            return out
        for channel in list(self._open):
            self._release(channel, out)
        out.chunks.append(self._splitter.rest())
        out.ended = True
        return out

    def _advance(self, out: Output) -> Output:
        while self._delayed is None and not self._stopped:
            frame = self._next_frame(out)
            if frame is None:
                break
            self._take(frame, out)
        return out

    def _next_frame(self, out: Output) -> wire.Frame | None:
        if not self.opaque:
            try:
                return self._splitter.next_frame()
            except wire.MalformedFrameError as error:
                self.opaque = True
                self._on_opaque(str(error))
        for channel in list(self._open):
            self._release(channel, out)
        out.chunks.append(self._splitter.rest())
        return None

    def _take(self, frame: wire.Frame, out: Output) -> None:
        if frame.kind == wire.METHOD:
            self._take_method(frame, out)
        elif frame.channel in self._open:
            self._take_content(frame, self._open[frame.channel], out)
        else:
            out.chunks.append(frame.raw)

    def _take_method(self, frame: wire.Frame, out: Output) -> None:
        # A method that comes before a message is complete ends it: the broker gets what came and judges it.
        self._release(frame.channel, out)
        unit = Unit(frame.channel, wire.method_id_of(frame.raw), [frame.raw])
        if unit.method_id in wire.CONTENT_METHODS:
            self._open[frame.channel] = unit
        else:
            self._decide(unit, out)

    def _take_content(self, frame: wire.Frame, unit: Unit, out: Output) -> None:
        is_first = len(unit.frames) == 1
        if not _continues(unit, frame):
            self._release(frame.channel, out)
            out.chunks.append(frame.raw)
            return
        if is_first:
            unit.frames.append(frame.raw)
            unit.body_bytes = wire.body_bytes_of(frame.raw)
            self._stream_if_large(unit, out)
        else:
            self._take_body(frame, unit, out)
        if unit.received_bytes >= unit.body_bytes:
            del self._open[frame.channel]
            if unit.whole:
                self._decide(unit, out)

    def _take_body(self, frame: wire.Frame, unit: Unit, out: Output) -> None:
        unit.received_bytes += len(frame.raw) - wire.FRAME_OVERHEAD_BYTES
        if unit.whole:
            unit.frames.append(frame.raw)
        elif not unit.swallowed:
            out.chunks.append(frame.raw)

    def _stream_if_large(self, unit: Unit, out: Output) -> None:
        if unit.body_bytes > self._hold_limit_bytes:
            unit.whole = False
            self._decide(unit, out)

    def _release(self, channel: int, out: Output) -> None:
        unit = self._open.pop(channel, None)
        if unit is not None and unit.whole:
            out.chunks.extend(unit.frames)

    def _decide(self, unit: Unit, out: Output) -> None:
        decision = self._judge(unit)
        action = decision.action
        if self._stopped:
            return
        if isinstance(action, Delay):
            self._delayed, out.wait_s = decision, action.seconds
        elif isinstance(action, Cut):
            self._cut(decision, action, out)
        elif isinstance(action, Drop):
            unit.swallowed = True
        else:
            _pass_on(decision, out)

    def _cut(self, decision: Decision, action: Cut, out: Output) -> None:
        if not action.before:
            _pass_on(decision, out)
        out.cut = self._stopped = True


def _continues(unit: Unit, frame: wire.Frame) -> bool:
    """Whether a frame is the one that has to follow: a content header first, then nothing but body frames."""
    if len(unit.frames) == 1:
        return frame.kind == wire.HEADER and len(frame.raw) >= wire.HEADER_FRAME_BYTES
    return frame.kind == wire.BODY


def _pass_on(decision: Decision, out: Output) -> None:
    out.chunks.append(decision.raw)
    if decision.copy is not None:
        out.copies.append(decision.copy)


def forward(unit: Unit) -> Decision:
    """The decision to pass a unit on as it came."""
    return Decision(FORWARD, unit.raw())
