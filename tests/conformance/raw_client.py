"""A client that shows the wire: it sends what it is told, right or wrong, and returns the frames that come back.

Blocking sockets with a deadline. It knows the handshake and nothing else of a client's manners.
"""

from __future__ import annotations

import socket
import struct
import time
from types import TracebackType
from typing import Any, TypeVar

from pamqp import base, body, commands, frame, header, heartbeat

DEADLINE_S = 10.0
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
CAPABILITIES = {
    "consumer_cancel_notify": True,
    "basic.nack": True,
    "publisher_confirms": True,
    "authentication_failure_close": True,
}

M = TypeVar("M", bound=base.Frame)


class Closed(Exception):
    """The broker closed the socket."""


class RawClient:
    """A socket to a broker. `expect` waits for a method and fails loudly on any other."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=DEADLINE_S)
        self._buffer = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, *frames: Any, channel: int = 1) -> None:
        """Methods, content headers and bodies, in one write."""
        self.socket.sendall(b"".join(frame.marshal(item, channel) for item in frames))

    def receive(self, timeout_s: float = DEADLINE_S) -> tuple[int, Any]:
        """(channel, next frame); heartbeats included. Raises Closed, TimeoutError."""
        size_bytes, channel, item = self._next_frame(timeout_s)
        self._buffer = self._buffer[size_bytes:]
        return channel, item

    def receive_raw(self, timeout_s: float = DEADLINE_S) -> bytes:
        """The next frame as it stands on the wire."""
        size_bytes = self._next_frame(timeout_s)[0]
        raw, self._buffer = self._buffer[:size_bytes], self._buffer[size_bytes:]
        return raw

    def _next_frame(self, timeout_s: float) -> tuple[int, int, Any]:
        deadline_s = time.monotonic() + timeout_s
        while not self._complete():
            self.socket.settimeout(max(0.001, deadline_s - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError as error:
                raise Closed from error
            if not data:
                raise Closed
            self._buffer += data
        return frame.unmarshal(self._buffer)

    def _complete(self) -> bool:
        if self._buffer.startswith(b"AMQP"):
            return len(self._buffer) >= len(PROTOCOL_HEADER)
        if len(self._buffer) < 7:
            return False
        return len(self._buffer) >= struct.unpack_from(">I", self._buffer, 3)[0] + 8

    def expect(self, kind: type[M], timeout_s: float = DEADLINE_S) -> M:
        """The next frame, heartbeats skipped, which must be of this kind."""
        item: Any = heartbeat.Heartbeat()
        while isinstance(item, heartbeat.Heartbeat):
            item = self.receive(timeout_s)[1]
        assert isinstance(item, kind), f"expected {kind.__name__}, got {describe(item)}"
        return item

    def expect_content(self) -> tuple[header.ContentHeader, bytes, list[int]]:
        """(header, body, sizes of the body frames in bytes) of the message that comes next."""
        head = self.receive()[1]
        assert isinstance(head, header.ContentHeader), describe(head)
        chunks: list[bytes] = []
        while sum(map(len, chunks)) < head.body_size:
            chunk = self.receive()[1]
            assert isinstance(chunk, body.ContentBody), describe(chunk)
            chunks.append(bytes(chunk.value))
        return head, b"".join(chunks), [len(chunk) for chunk in chunks]

    def rest(self, timeout_s: float = DEADLINE_S) -> list[Any]:
        """What the broker still says until it closes the socket."""
        frames = []
        try:
            while True:
                frames.append(self.receive(timeout_s)[1])
        except Closed:
            return frames

    def end(self, how: str) -> None:
        """Leave: with connection.close, by closing the socket, or with bytes that are no frame."""
        if how == "close":
            self.send(commands.Connection.Close(200, "", 0, 0), channel=0)
            self.expect(commands.Connection.CloseOk)
        elif how == "garbage":
            self.send_bytes(b"no frame begins like this")
        else:
            self.socket.close()

    def start(self) -> commands.Connection.Start:
        """Send the protocol header."""
        self.send_bytes(PROTOCOL_HEADER)
        return self.expect(commands.Connection.Start)

    def log_in(self, user: str = "guest", password: str = "guest", mechanism: str = "PLAIN") -> None:
        """Send connection.start-ok."""
        response = f"\x00{user}\x00{password}"
        if mechanism == "AMQPLAIN":
            response = amqplain(user, password)
        properties: Any = {"capabilities": CAPABILITIES}
        self.send(commands.Connection.StartOk(properties, mechanism, response), channel=0)

    def open(self, *, frame_max: int | None = None, heartbeat_s: int = 0, vhost: str = "/") -> None:
        """The whole handshake with guest/guest."""
        self.start()
        self.log_in()
        tune = self.expect(commands.Connection.Tune)
        self.tune(tune.channel_max or 0, frame_max if frame_max is not None else tune.frame_max or 0, heartbeat_s)
        self.send(commands.Connection.Open(vhost), channel=0)
        self.expect(commands.Connection.OpenOk)

    def tune(self, channel_max: int, frame_max: int, heartbeat_s: int) -> None:
        """Send connection.tune-ok."""
        self.send(commands.Connection.TuneOk(channel_max, frame_max, heartbeat_s), channel=0)

    def channel(self, number: int = 1) -> None:
        """Open a channel."""
        self.send(commands.Channel.Open(), channel=number)
        self.expect(commands.Channel.OpenOk)

    def declare(self, queue: str = "", channel: int = 1, **options: Any) -> commands.Queue.DeclareOk:
        """queue.declare."""
        self.send(commands.Queue.Declare(queue=queue, **options), channel=channel)
        return self.expect(commands.Queue.DeclareOk)

    def publish(self, routing_key: str, payload: bytes, channel: int = 1, exchange: str = "") -> None:
        """basic.publish with its content in frames of at most 4000 bytes, in one write."""
        steps = range(0, len(payload), 4000)
        self.send(
            commands.Basic.Publish(exchange=exchange, routing_key=routing_key),
            header.ContentHeader(body_size=len(payload)),
            *(body.ContentBody(payload[step : step + 4000]) for step in steps),
            channel=channel,
        )


def amqplain(user: str, password: str) -> str:
    """The response of the AMQPLAIN mechanism: a field table without its length."""
    fields = {"LOGIN": user, "PASSWORD": password}
    return "".join(
        f"{chr(len(name))}{name}S{struct.pack('>I', len(value)).decode()}{value}" for name, value in fields.items()
    )


def describe(item: Any) -> str:
    """A frame with its arguments, for the message of a failed assertion."""
    return f"{item.name} {dict(item)}" if isinstance(item, base.Frame) else type(item).__name__
