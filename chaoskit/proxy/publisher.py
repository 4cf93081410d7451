"""A minimal AMQP 0-9-1 publisher on asyncio and pamqp: log in, open one confirming channel, publish, await confirms.

It does not consume, declare, reconnect, or speak TLS. Heartbeats are switched off, so that an idle connection lives
as long as both sides do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pamqp import base, commands, frame, header

from chaoskit.proxy import wire

_CHANNEL = 1
_FRAME_LIMIT_BYTES = 1 << 20


class PublisherError(Exception):
    """The broker refused the login or a message, or the connection was lost; the text says which."""


class Publisher(asyncio.Protocol):
    """One connection; made by `connect`."""

    def __init__(self, user: str, password: str, virtual_host: str) -> None:
        self._login = (user, password, virtual_host)
        self._splitter = wire.Splitter(_FRAME_LIMIT_BYTES)
        self._transport: asyncio.Transport | None = None
        self._frame_bytes = 0
        self._published = 0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._confirms: dict[int, asyncio.Future[None]] = {}
        self.closed = False
        """Whether the connection is lost or closed; it stays so."""

    @classmethod
    async def connect(cls, upstream: tuple[str, int], user: str, password: str, virtual_host: str) -> Publisher:
        """Open a connection that is ready to publish. Raises OSError and PublisherError."""
        loop = asyncio.get_running_loop()
        _, publisher = await loop.create_connection(lambda: cls(user, password, virtual_host), *upstream)
        try:
            await publisher._ready
        except BaseException:
            publisher.close()
            raise
        return publisher

    async def publish(self, exchange: str, routing_key: str, header_payload: bytes, body: bytes) -> None:
        """Publish with a content header as it stands, and return when the broker confirmed it.

        Raises PublisherError when a name is too long, the broker refuses the message or the connection is lost.
        """
        if self._transport is None or self.closed:
            raise PublisherError("the connection to the broker is closed")
        try:
            raw = self._marshal(exchange, routing_key, header_payload, body)
        except ValueError as error:
            raise PublisherError(str(error)) from error
        confirm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._published += 1
        self._confirms[self._published] = confirm
        self._transport.write(raw)
        await confirm

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
        handler = _HANDLERS.get(type(method))
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
        self._send(commands.Channel.Open(), _CHANNEL)
        self._send(commands.Confirm.Select(), _CHANNEL)

    def _selected(self, _: object) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _acked(self, method: commands.Basic.Ack) -> None:
        for confirm in self._settled(method.delivery_tag, method.multiple):
            confirm.set_result(None)

    def _nacked(self, method: commands.Basic.Nack) -> None:
        for confirm in self._settled(method.delivery_tag, method.multiple):
            confirm.set_exception(PublisherError("the broker refused the message (basic.nack)"))

    def _refused(self, method: commands.Connection.Close | commands.Channel.Close) -> None:
        self._fail(f"the broker closed the connection: {method.reply_code} {method.reply_text}")

    def _settled(self, tag: int, multiple: bool) -> list[asyncio.Future[None]]:
        tags = [known for known in self._confirms if known == tag or (multiple and known <= (tag or known))]
        return [confirm for known in tags if not (confirm := self._confirms.pop(known)).done()]

    def _fail(self, reason: str) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()
        for waiting in (self._ready, *self._confirms.values()):
            if not waiting.done():
                waiting.set_exception(PublisherError(reason))
                # Whoever waited may be cancelled by now, and an exception nobody reads is logged as an error.
                waiting.exception()
        self._confirms.clear()

    def _marshal(self, exchange: str, routing_key: str, header_payload: bytes, body: bytes) -> bytes:
        step = self._frame_bytes - wire.FRAME_OVERHEAD_BYTES
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        return b"".join(
            (
                wire.make_publish(_CHANNEL, exchange, routing_key),
                wire.make_frame(wire.HEADER, _CHANNEL, header_payload),
                *(wire.make_frame(wire.BODY, _CHANNEL, piece) for piece in pieces),
            )
        )


_HANDLERS: dict[type, Callable[..., None]] = {
    commands.Connection.Start: Publisher._start,
    commands.Connection.Tune: Publisher._tune,
    commands.Connection.OpenOk: Publisher._opened,
    commands.Connection.Close: Publisher._refused,
    commands.Channel.Close: Publisher._refused,
    commands.Confirm.SelectOk: Publisher._selected,
    commands.Basic.Ack: Publisher._acked,
    commands.Basic.Nack: Publisher._nacked,
}
