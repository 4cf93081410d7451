"""A minimal AMQP 0-9-1 connection on asyncio and pamqp: log in, open one channel, hand methods to whoever derives.

It does not reconnect or speak TLS. Heartbeats are switched off, so that an idle connection lives as long as both
sides do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Self

from pamqp import base, commands, frame, header

from chaoskit.proxy import wire

CHANNEL = 1
_FRAME_LIMIT_BYTES = 1 << 20
Handler = Callable[..., None]


class ClientError(Exception):
    """The broker refused the login or a request, or the connection was lost; the text says which."""


class Client(asyncio.Protocol):
    """One connection; made by `connect`. A class that derives from it names its methods in HANDLERS."""

    HANDLERS: ClassVar[dict[type, Handler]] = {}

    def __init__(self, user: str, password: str, virtual_host: str) -> None:
        self._login = (user, password, virtual_host)
        self._splitter = wire.Splitter(_FRAME_LIMIT_BYTES)
        self._transport: asyncio.Transport | None = None
        self._frame_bytes = 0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        """Whether the connection is lost or closed; it stays so."""

    @classmethod
    async def connect(cls, upstream: tuple[str, int], user: str, password: str, virtual_host: str) -> Self:
        """Open a connection that is ready for use. Raises OSError and ClientError."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(user, password, virtual_host), *upstream)
        try:
            await client._ready
        except BaseException:
            client.close()
            raise
        return client

    def close(self) -> None:
        """Close the connection at once."""
        self._fail("the connection to the broker is closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(header.ProtocolHeader().marshal())

    def data_received(self, data: bytes) -> None:
        """Take every frame that is complete."""
        self._splitter.feed(data)
        try:
            while not self.closed and (received := self._splitter.next_frame()):
                if received.kind == wire.METHOD:
                    self._take(wire.decode_method(received.raw))
        except ValueError as error:
            # A frame that cannot be read, or a login that cannot be written.
            self._fail(f"the login or the broker's answer is no AMQP 0-9-1: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what still waits for the broker."""
        self._fail("the broker closed the connection" + (f": {exc}" if exc else ""))

    def _take(self, method: base.Frame) -> None:
        handler = self.HANDLERS.get(type(method)) or _HANDLERS.get(type(method))
        if handler is not None:
            handler(self, method)

    def _send(self, method: base.Frame, channel: int = 0) -> None:
        assert self._transport is not None
        self._transport.write(frame.marshal(method, channel))

    def _start(self, _: object) -> None:
        user, password, _host = self._login
        self._send(commands.Connection.StartOk(mechanism="PLAIN", response=f"\0{user}\0{password}"))

    def _tune(self, method: commands.Connection.Tune) -> None:
        self._frame_bytes = min(method.frame_max or 131_072, 131_072)
        self._send(commands.Connection.TuneOk(method.channel_max, self._frame_bytes, 0))
        self._send(commands.Connection.Open(self._login[2]))

    def _opened(self, _: object) -> None:
        self._send(commands.Channel.Open(), CHANNEL)

    def _channel_opened(self, _: object) -> None:
        self._is_ready()

    def _is_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _refused(self, method: commands.Connection.Close | commands.Channel.Close) -> None:
        self._fail(f"the broker closed the connection: {method.reply_code} {method.reply_text}")

    def _waiting(self) -> list[asyncio.Future[None]]:
        """What fails when the connection does, besides the login."""
        return []

    def _fail(self, reason: str) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()
        for waiting in (self._ready, *self._waiting()):
            if not waiting.done():
                waiting.set_exception(ClientError(reason))
                # Whoever waited may be cancelled by now, and an exception nobody reads is logged as an error.
                waiting.exception()


_HANDLERS: dict[type, Handler] = {
    commands.Connection.Start: Client._start,
    commands.Connection.Tune: Client._tune,
    commands.Connection.OpenOk: Client._opened,
    commands.Connection.Close: Client._refused,
    commands.Channel.OpenOk: Client._channel_opened,
    commands.Channel.Close: Client._refused,
}
