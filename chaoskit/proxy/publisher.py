"""A publisher: one confirming channel, messages published as they stand, confirms awaited.

It does not consume, declare or reconnect.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pamqp import commands

from chaoskit.proxy import wire
from chaoskit.proxy.client import CHANNEL, Client, ClientError, Handler


class Publisher(Client):
    """One connection; made by `connect`."""

    HANDLERS: ClassVar[dict[type, Handler]]

    def __init__(self, user: str, password: str, virtual_host: str) -> None:
        super().__init__(user, password, virtual_host)
        self._published = 0
        self._confirms: dict[int, asyncio.Future[None]] = {}

    async def publish(self, exchange: str, routing_key: str, header_payload: bytes, body: bytes) -> None:
        """Publish with a content header as it stands, and return when the broker confirmed it.

        Raises ClientError when a name is too long, the broker refuses the message or the connection is lost.
        """
        if self._transport is None or self.closed:
            raise ClientError("the connection to the broker is closed")
        try:
            raw = self._marshal(exchange, routing_key, header_payload, body)
        except ValueError as error:
            raise ClientError(str(error)) from error
        confirm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._published += 1
        self._confirms[self._published] = confirm
        self._transport.write(raw)
        await confirm

    def _channel_opened(self, _: object) -> None:
        self._send(commands.Confirm.Select(), CHANNEL)

    def _selected(self, _: object) -> None:
        self._is_ready()

    def _acked(self, method: commands.Basic.Ack) -> None:
        for confirm in self._settled(method.delivery_tag, method.multiple):
            confirm.set_result(None)

    def _nacked(self, method: commands.Basic.Nack) -> None:
        for confirm in self._settled(method.delivery_tag, method.multiple):
            confirm.set_exception(ClientError("the broker refused the message (basic.nack)"))

    def _settled(self, tag: int, multiple: bool) -> list[asyncio.Future[None]]:
        tags = [known for known in self._confirms if known == tag or (multiple and known <= (tag or known))]
        return [confirm for known in tags if not (confirm := self._confirms.pop(known)).done()]

    def _waiting(self) -> list[asyncio.Future[None]]:
        waiting = list(self._confirms.values())
        self._confirms.clear()
        return waiting

    def _marshal(self, exchange: str, routing_key: str, header_payload: bytes, body: bytes) -> bytes:
        step = self._frame_bytes - wire.FRAME_OVERHEAD_BYTES
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        return b"".join(
            (
                wire.make_publish(CHANNEL, exchange, routing_key),
                wire.make_frame(wire.HEADER, CHANNEL, header_payload),
                *(wire.make_frame(wire.BODY, CHANNEL, piece) for piece in pieces),
            )
        )


Publisher.HANDLERS = {
    commands.Channel.OpenOk: Publisher._channel_opened,
    commands.Confirm.SelectOk: Publisher._selected,
    commands.Basic.Ack: Publisher._acked,
    commands.Basic.Nack: Publisher._nacked,
}
