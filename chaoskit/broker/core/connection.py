"""One client's connection: bytes in, bytes out.

The state machine from protocol header to close, channels opened and closed, errors told, heartbeats and time limits.
The time is an argument of every entry point; nothing here reads a clock or a socket. What methods mean is in `basic`
and `topology`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from pamqp import base, commands

from chaoskit.broker.core import basic, handshake, topology, wire
from chaoskit.broker.core.channel import Channel
from chaoskit.broker.core.errors import AmqpError, Reply, not_implemented
from chaoskit.broker.core.handshake import Limits, Settings
from chaoskit.broker.core.vhost import VirtualHost

_HANDLERS = {**topology.HANDLERS, **basic.HANDLERS}
_KINDS = (wire.METHOD, wire.HEADER, wire.BODY, wire.HEARTBEAT)
_OMITTED = (
    commands.Tx.Select,
    commands.Tx.Commit,
    commands.Tx.Rollback,
    commands.Exchange.Bind,
    commands.Exchange.Unbind,
)


class State(Enum):
    """Where a connection stands; CLOSING waits for the client's close-ok, CLOSED is for the socket to act on."""

    HEADER = auto()
    START = auto()
    TUNE = auto()
    OPEN = auto()
    RUNNING = auto()
    CLOSING = auto()
    CLOSED = auto()


class Connection:
    """The broker's end of a connection. `on_output` is called when bytes wait after none did."""

    def __init__(
        self, vhost: VirtualHost, settings: Settings, on_output: Callable[[Connection], None], now_s: float
    ) -> None:
        self.vhost = vhost
        self.user = ""
        self.max_frame_bytes = settings.max_frame_bytes
        self.max_message_bytes = settings.max_message_bytes
        self.wants_cancel_notices = False
        self._hears_refusals = False
        self.state = State.HEADER
        self.close_reason: str | None = None
        self._settings = settings
        self._limits = Limits(settings.channel_max, settings.max_frame_bytes, 0)
        self._on_output = on_output
        self._reader = wire.FrameReader(settings.max_frame_bytes)
        self._channels: dict[int, Channel] = {}
        self._unconfirmed: set[Channel] = set()
        self._output: list[bytes] = []
        self._deadline_s: float | None = now_s + settings.handshake_timeout_s
        self._received_s = now_s
        self._sent_s = now_s

    # Output -------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queue bytes for the client."""
        if not self._output:
            self._on_output(self)
        self._output.append(data)

    def take_output(self, now_s: float) -> bytes:
        """Everything queued since the last call."""
        data = b"".join(self._output)
        self._output.clear()
        if data:
            self._sent_s = now_s
        return data

    def _send(self, channel: int, method: base.Frame) -> None:
        self.write(wire.encode_method(channel, method))

    def confirm_later(self, channel: Channel) -> None:
        """Collect publisher confirms, so that a burst of messages is confirmed by one method."""
        self._unconfirmed.add(channel)

    def _send_confirms(self) -> None:
        for channel in self._unconfirmed:
            channel.send_confirms()
        self._unconfirmed.clear()

    # Input --------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_s: float) -> None:
        """Handle bytes from the client."""
        self.vhost.now_s = self._received_s = now_s
        self._reader.feed(data)
        if self.state is State.HEADER and not self._read_header():
            return
        for frame in self._reader.drain():
            if self.state is State.CLOSED:
                break
            try:
                if isinstance(frame, AmqpError):
                    raise frame
                self._on_frame(frame)
            except AmqpError as error:
                self._close_connection(error)
        self._send_confirms()

    def _read_header(self) -> bool:
        header = self._reader.take(len(wire.PROTOCOL_HEADER))
        if header is None:
            return False
        if header != wire.PROTOCOL_HEADER:
            self.write(wire.PROTOCOL_HEADER)
            self._finish(f"bad protocol header {header!r}")
            return False
        self._send(0, handshake.start(self._settings))
        self.state = State.START
        return True

    def _on_frame(self, frame: wire.Frame) -> None:
        if frame.kind not in _KINDS or (frame.kind == wire.HEARTBEAT and frame.payload):
            raise wire.frame_error(frame, "unknown_frame")
        if frame.channel == 0:
            self._on_channel_zero(frame)
            return
        if self.state is State.CLOSING:
            return
        if self.state is not State.RUNNING or frame.kind == wire.HEARTBEAT:
            raise AmqpError(Reply.UNEXPECTED_FRAME, wire.describe_frame(frame))
        channel = self._channels.get(frame.channel)
        if channel is None:
            self._on_unknown_channel(frame)
        else:
            self._on_channel(channel, frame)

    # Channel 0 ----------------------------------------------------------------------------------------------------

    def _on_channel_zero(self, frame: wire.Frame) -> None:
        if frame.kind == wire.HEARTBEAT:
            return
        if frame.kind != wire.METHOD:
            raise AmqpError(Reply.UNEXPECTED_FRAME, wire.describe_frame(frame))
        method = wire.decode_method(frame)
        if isinstance(method, commands.Connection.Close):
            self._release_all()
            self._send(0, commands.Connection.CloseOk())
            self._finish(None)
        elif isinstance(method, commands.Connection.CloseOk):
            self._finish(self.close_reason)
        elif self.state is not State.CLOSING:
            self._on_handshake(method)

    def _on_handshake(self, method: wire.Method) -> None:
        if self.state is State.START and isinstance(method, commands.Connection.StartOk):
            self._on_start_ok(method)
        elif self.state is State.TUNE and isinstance(method, commands.Connection.TuneOk):
            self._on_tune_ok(method)
        elif self.state is State.OPEN and isinstance(method, commands.Connection.Open):
            handshake.check_vhost(method)
            self._send(0, commands.Connection.OpenOk())
            self.state = State.RUNNING
            self._deadline_s = None
        else:
            where = f"unexpected method in connection state {self.state.name.lower()}"
            raise AmqpError(Reply.CHANNEL_ERROR, where, _index(method))

    def _on_start_ok(self, method: commands.Connection.StartOk) -> None:
        self._hears_refusals = handshake.is_capable(method, "authentication_failure_close")
        self.wants_cancel_notices = handshake.is_capable(method, "consumer_cancel_notify")
        self.user = handshake.authenticate(method, self._settings.users)
        self._send(0, handshake.tune(self._settings))
        self.state = State.TUNE

    def _on_tune_ok(self, method: commands.Connection.TuneOk) -> None:
        self._limits = handshake.agree(method, self._settings)
        self.max_frame_bytes = self._reader.max_frame_bytes = self._limits.max_frame_bytes
        self.state = State.OPEN

    # Channels -----------------------------------------------------------------------------------------------------

    def _on_unknown_channel(self, frame: wire.Frame) -> None:
        method = wire.decode_method(frame) if frame.kind == wire.METHOD else None
        if not isinstance(method, commands.Channel.Open):
            raise AmqpError(Reply.CHANNEL_ERROR, "expected 'channel.open'", _index(method))
        limit = self._limits.channel_max
        if len(self._channels) >= limit:
            raise AmqpError(
                Reply.NOT_ALLOWED,
                f"number of channels opened ({len(self._channels)}) has reached the negotiated channel_max ({limit})",
            )
        self._channels[frame.channel] = Channel(frame.channel, self)
        # pamqp insists on a channel id in here, which AMQP 0-9-1 does not have and RabbitMQ leaves empty.
        self.write(wire.encode_raw_method(frame.channel, commands.Channel.OpenOk.index, bytes(4)))

    def _on_channel(self, channel: Channel, frame: wire.Frame) -> None:
        in_content = channel.content is not None
        method: wire.Method | None = None
        try:
            if channel.closing:
                self._on_closing_channel(channel, frame)
            elif frame.kind == wire.HEADER:
                basic.content_header(channel, frame)
            elif frame.kind == wire.BODY:
                basic.content_body(channel, frame.payload)
            else:
                basic.check_no_content(channel)
                method = wire.decode_method(frame)
                self._on_method(channel, method)
        except AmqpError as error:
            # A header or a body fails on behalf of the publish that it belongs to.
            failed = commands.Basic.Publish.index if in_content else _index(method)
            error.method_index = error.method_index or failed
            self._fail(channel, error)

    def _on_closing_channel(self, channel: Channel, frame: wire.Frame) -> None:
        # Until the client has seen our close, whatever it sends was sent in ignorance.
        if frame.kind != wire.METHOD:
            return
        method = wire.decode_method(frame)
        if isinstance(method, commands.Channel.Close):
            self._send(channel.number, commands.Channel.CloseOk())
        elif isinstance(method, commands.Channel.CloseOk):
            del self._channels[channel.number]

    def _on_method(self, channel: Channel, method: wire.Method) -> None:
        handler = _HANDLERS.get(type(method))
        if handler is not None:
            handler(channel, method)
        elif isinstance(method, commands.Channel.Close):
            self._close_channel_for_client(channel)
        elif isinstance(method, commands.Channel.Open):
            raise AmqpError(Reply.CHANNEL_ERROR, "second 'channel.open' seen")
        elif isinstance(method, commands.Channel.Flow):
            self._on_flow(channel, method)
        elif isinstance(method, _OMITTED):
            raise not_implemented(wire.method_name(method))
        else:
            raise AmqpError(Reply.COMMAND_INVALID, "unimplemented method")

    def _on_flow(self, channel: Channel, method: commands.Channel.Flow) -> None:
        if not method.active:
            raise AmqpError(Reply.NOT_IMPLEMENTED, "active=false")
        self._send(channel.number, commands.Channel.FlowOk(True))

    def _close_channel_for_client(self, channel: Channel) -> None:
        channel.send_confirms()
        channel.requeue(channel.detach())
        del self._channels[channel.number]
        self._send(channel.number, commands.Channel.CloseOk())

    def _fail(self, channel: Channel, error: AmqpError) -> None:
        if error.hard:
            raise error
        channel.send_confirms()
        channel.requeue(channel.detach())
        self._send(channel.number, commands.Channel.Close(*_reasons(error)))

    # The end ------------------------------------------------------------------------------------------------------

    def _close_connection(self, error: AmqpError) -> None:
        """Tell the client why, and wait for its close-ok; the first reason counts."""
        if self.state in (State.CLOSING, State.CLOSED):
            self._finish(self.close_reason)
        elif self.state is State.RUNNING or self._is_told_early(error):
            self._send_confirms()
            self._release_all()
            self.close_reason = error.reply_text
            self._send(0, commands.Connection.Close(*_reasons(error)))
            self.state = State.CLOSING
            self._deadline_s = self.vhost.now_s + self._settings.close_timeout_s
        else:
            self._finish(error.reply_text)

    def _is_told_early(self, error: AmqpError) -> bool:
        # Before connection.open, RabbitMQ explains only a refused login (to who can hear it) and an unknown vhost.
        if self.state is State.START:
            return self._hears_refusals and error.code == Reply.ACCESS_REFUSED
        return self.state is State.OPEN and error.code in (Reply.NOT_ALLOWED, Reply.CONNECTION_FORCED)

    def force_close(self, explanation: str, now_s: float) -> None:
        """Close it from the broker's side with 320 CONNECTION_FORCED."""
        self.vhost.now_s = now_s
        self._close_connection(AmqpError(Reply.CONNECTION_FORCED, explanation))

    def lost(self, reason: str | None, now_s: float) -> None:
        """The socket is gone: everything that the connection held is free again."""
        self.vhost.now_s = now_s
        if self.state is not State.CLOSED:
            self._finish(reason or self.close_reason or self._describe_cut())
        self._release_all()

    def _describe_cut(self) -> str:
        partial_bytes = self._reader.buffered_bytes
        where = f", {partial_bytes} bytes into a frame" if partial_bytes else ""
        return f"client closed the socket without connection.close{where}"

    def _finish(self, reason: str | None) -> None:
        self.close_reason = reason
        self.state = State.CLOSED
        self._release_all()

    def _release_all(self) -> None:
        held = [(channel, channel.detach()) for channel in self._channels.values()]
        self._channels.clear()
        for channel, released in held:
            channel.requeue(released)
        for queue in [queue for queue in self.vhost.queues.values() if queue.owner is self]:
            self.vhost.delete_queue(queue)

    # Time ---------------------------------------------------------------------------------------------------------

    def next_deadline_s(self) -> float | None:
        """When `tick` must be called next, if ever."""
        heartbeat_s = self._limits.heartbeat_s if self.state is State.RUNNING else 0
        if not heartbeat_s:
            return self._deadline_s if self.state is not State.CLOSED else None
        return min(self._sent_s + heartbeat_s / 2, self._received_s + 2 * heartbeat_s)

    def tick(self, now_s: float) -> None:
        """Heartbeats and time limits: handshake, close, and a client that fell silent for two heartbeats."""
        self.vhost.now_s = now_s
        heartbeat_s = self._limits.heartbeat_s if self.state is State.RUNNING else 0
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._finish(self.close_reason or "handshake timeout")
        elif heartbeat_s and now_s >= self._received_s + 2 * heartbeat_s:
            self._finish(f"missed heartbeats from client, timeout: {heartbeat_s}s")
        elif heartbeat_s and now_s >= self._sent_s + heartbeat_s / 2:
            self.write(wire.HEARTBEAT_FRAME)


def _index(method: wire.Method | None) -> int:
    if isinstance(method, base.Frame):
        return method.index
    hot = {wire.Ack: commands.Basic.Ack.index, wire.Publish: commands.Basic.Publish.index}
    return 0 if method is None else hot[type(method)]


def _reasons(error: AmqpError) -> tuple[int, str, int, int]:
    """The arguments of both close methods."""
    return error.code, error.reply_text, error.method_index >> 16, error.method_index & 0xFFFF
