"""Asks a broker about its queues, and clears it: passive declares and deletes on a connection of its own.

For a broker that cannot be looked into otherwise. What a passive declare does not tell, the messages that are
delivered and not acknowledged, is known to the proxies.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, NamedTuple

from pamqp import base, commands

from chaoskit.proxy.client import CHANNEL, Client, Handler

_NOT_FOUND, _RESOURCE_LOCKED = 404, 405


class Depth(NamedTuple):
    """Messages that are ready, and consumers, of one queue."""

    ready: int
    consumers: int


class Inquirer(Client):
    """One connection; made by `connect`. One question at a time."""

    HANDLERS: ClassVar[dict[type, Handler]]

    def __init__(self, user: str, password: str, virtual_host: str) -> None:
        super().__init__(user, password, virtual_host)
        self._answer: asyncio.Future[base.Frame | None] | None = None
        self._open = False
        self._refusal = (0, "")

    async def depth(self, queue: str) -> Depth | None:
        """How full a queue is; None when it does not exist or is exclusive to somebody. Raises ClientError."""
        answer = await self._ask(commands.Queue.Declare(queue=queue, passive=True))
        if isinstance(answer, commands.Queue.DeclareOk):
            return Depth(answer.message_count or 0, answer.consumer_count or 0)
        return None

    async def delete_queue(self, queue: str) -> str:
        """Delete a queue, or empty it when that is all that is allowed; why not, or "". Raises ClientError."""
        for way in (commands.Queue.Delete(queue=queue), commands.Queue.Purge(queue=queue)):
            if await self._ask(way) is not None:
                return ""
            # An exclusive queue goes with its connection, which is at its end.
            if self._refusal[0] in (_NOT_FOUND, _RESOURCE_LOCKED):
                return ""
        return self._refusal[1]

    async def delete_exchange(self, exchange: str) -> None:
        """Delete an exchange; one that is not there is no error. Raises ClientError."""
        await self._ask(commands.Exchange.Delete(exchange=exchange))

    async def _ask(self, question: base.Frame) -> base.Frame | None:
        """The broker's answer; None when it refused, which costs the channel."""
        if not self._open:
            await self._request(commands.Channel.Open())
        return await self._request(question)

    async def _request(self, question: base.Frame) -> base.Frame | None:
        self._answer = asyncio.get_running_loop().create_future()
        if self.closed:
            self._fail("the connection to the broker is closed")
        else:
            self._send(question, CHANNEL)
        return await self._answer

    def _channel_opened(self, method: object) -> None:
        self._open = True
        self._is_ready()
        self._answered(method)

    def _answered(self, method: object) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(method if isinstance(method, base.Frame) else None)

    def _channel_closed(self, method: object) -> None:
        self._open = False
        assert isinstance(method, commands.Channel.Close)
        self._refusal = (method.reply_code or 0, method.reply_text or "")
        self._send(commands.Channel.CloseOk(), CHANNEL)
        self._answered(None)

    def _waiting(self) -> list[asyncio.Future[None]]:
        return [self._answer] if self._answer is not None else []  # type: ignore[list-item]


Inquirer.HANDLERS = {
    commands.Channel.OpenOk: Inquirer._channel_opened,
    commands.Channel.Close: Inquirer._channel_closed,
    commands.Queue.DeclareOk: Inquirer._answered,
    commands.Queue.DeleteOk: Inquirer._answered,
    commands.Queue.PurgeOk: Inquirer._answered,
    commands.Exchange.DeleteOk: Inquirer._answered,
}
