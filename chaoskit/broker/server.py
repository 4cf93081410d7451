"""The embedded broker as an asyncio server: sockets and timers around the core.

It runs in the loop that calls `start`, uses no thread and never blocks. Output is collected and written once a loop
turn and connection. It decides nothing about AMQP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chaoskit.broker.core.connection import Connection, State
from chaoskit.broker.core.handshake import Settings
from chaoskit.broker.core.vhost import VirtualHost

_LOGGER = logging.getLogger(__name__)
_REMEMBERED_INCIDENTS = 100
_SHUTDOWN_GRACE_S = 0.2
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class QueueDepth:
    """How many messages a queue holds, ready and delivered but unsettled, and how many consumers it has."""

    ready: int
    unacked: int
    consumers: int


class EmbeddedBroker:
    """An AMQP 0-9-1 broker on loopback.

    `users` maps names to passwords (guest/guest when not given). `on_change` is called in the loop after the state has
    changed, at most once a loop turn, with all output already handed to the sockets.
    """

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        *,
        heartbeat_s: int = 60,
        max_frame_bytes: int = 131072,
        max_message_bytes: int = 16 * 1024 * 1024,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.on_change = on_change
        self.incidents: deque[str] = deque(maxlen=_REMEMBERED_INCIDENTS)
        self._settings = Settings(
            users=dict(users) if users is not None else {"guest": "guest"},
            heartbeat_s=heartbeat_s,
            max_frame_bytes=max_frame_bytes,
            max_message_bytes=max_message_bytes,
        )
        self._vhost = VirtualHost(lambda: secrets.token_urlsafe(16), time.time() - time.monotonic())
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_down = False
        self._idle = asyncio.Event()
        self._clients: set[_Client] = set()
        self._dirty: list[_Client] = []
        self._flush: asyncio.Handle | None = None
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; raises RuntimeError when it does not."""
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the embedded broker is not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many sockets are open."""
        return len(self._clients)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. Raises OSError when the port is taken, RuntimeError when started already."""
        if self._server is not None:
            raise RuntimeError("the embedded broker is started already")
        self._loop = loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._server = await loop.create_server(lambda: _Client(self, loop), host, port)

    async def close(self) -> None:
        """Tell every client, drop everything, give the port back. Harmless when not started."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        await self._say_goodbye()
        self._drop_everything()
        await self._wait_for_clients(_SHUTDOWN_GRACE_S)
        for handle in (self._flush, self._expiry):
            if handle is not None:
                handle.cancel()
        self._flush = self._expiry = None
        await server.wait_closed()
        # Another start may happen in another loop, and a reset in none at all.
        self._loop = None

    async def _say_goodbye(self) -> None:
        now_s = time.monotonic()
        for client in list(self._clients):
            client.connection.force_close("broker forced connection closure with reason 'shutdown'", now_s)
        self._flush_output()
        await self._wait_for_clients(_SHUTDOWN_GRACE_S)

    # To be hurt ---------------------------------------------------------------------------------------------------

    @property
    def is_down(self) -> bool:
        """Whether it was stopped or has crashed: who connects is reset."""
        return self._is_down

    async def stop(self) -> None:
        """End as after SIGTERM: tell every client, then keep what is durable, until `restart`. The port stays its own.

        Durable queues keep their persistent messages; everything else is gone.
        """
        self._is_down = True
        await self._say_goodbye()
        self.crash()

    def crash(self) -> None:
        """End as after SIGKILL: reset every connection; what is left, and until when, is as with `stop`.

        A real broker promises no more than the messages that it has confirmed; this one keeps all that it has read.
        """
        self._is_down = True
        now_s = time.monotonic()
        for client in list(self._clients):
            client.reset(now_s)
        self._vhost.forget_transient()
        self.changed()

    def restart(self) -> None:
        """Serve again, after `stop` or `crash`."""
        self._is_down = False

    async def _wait_for_clients(self, timeout_s: float) -> None:
        if self._clients:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout_s)

    def reset(self) -> None:
        """Drop all connections, queues, exchanges and messages at once; the port stays open."""
        self._drop_everything()
        self.incidents.clear()
        self.changed()

    def _drop_everything(self) -> None:
        now_s = time.monotonic()
        for client in list(self._clients):
            client.drop(now_s)
        self._vhost.clear()

    def queues(self) -> dict[str, QueueDepth]:
        """Depths by name of queue."""
        return {
            name: QueueDepth(len(queue.ready), queue.unacked, len(queue.consumers))
            for name, queue in self._vhost.queues.items()
        }

    # For the clients ----------------------------------------------------------------------------------------------

    def new_connection(self, on_output: Callable[[Connection], None]) -> Connection:
        """The core of one more connection."""
        return Connection(self._vhost, self._settings, on_output, time.monotonic())

    def joined(self, client: _Client) -> None:
        """A socket was opened."""
        self._clients.add(client)

    def left(self, client: _Client) -> None:
        """A socket is gone."""
        self._clients.discard(client)
        reason = client.connection.close_reason
        # What the broker's owner did to a connection is no incident.
        if reason is not None and not client.dropped and self._server is not None:
            self.incidents.append(f"{client.peer}: {reason}")
            _LOGGER.info("connection %s: %s", client.peer, reason)
        if not self._clients:
            self._idle.set()
        self.changed()

    def has_output(self, client: _Client) -> None:
        """Bytes wait for this client; they go out at the end of the loop turn."""
        self._dirty.append(client)
        self.changed()

    def changed(self) -> None:
        """Something may have changed: flush at the end of this loop turn, and tell `on_change`."""
        if self._flush is None and self._loop is not None:
            self._flush = self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._flush = None
        self._flush_output()
        self._arm_expiry()
        if self.on_change is not None:
            self.on_change()

    def _flush_output(self) -> None:
        dirty, self._dirty = self._dirty, []
        now_s = time.monotonic()
        for client in dirty:
            client.flush(now_s)

    def _arm_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        next_s = self._vhost.next_expiry_s()
        if next_s is not None and self._loop is not None:
            self._expiry = self._loop.call_later(max(0.0, next_s - time.monotonic()), self._on_expiry)

    def _on_expiry(self) -> None:
        self._expiry = None
        self._vhost.now_s = time.monotonic()
        self._vhost.expire()
        self.changed()


class _Client(asyncio.Protocol):
    """One socket and the core of its connection."""

    def __init__(self, broker: EmbeddedBroker, loop: asyncio.AbstractEventLoop) -> None:
        self.peer = ""
        self.dropped = False
        self.connection = broker.new_connection(self._on_output)
        self._broker = broker
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if address else "unknown"
        self._broker.joined(self)
        if self._broker.is_down:
            self.reset(time.monotonic())
        self._arm()

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        if connection.state is State.CLOSED:
            return
        connection.receive(data, time.monotonic())
        self._after_event()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        reason = f"connection broken: {error}" if error is not None else None
        self.connection.lost(reason, time.monotonic())
        self._transport = None
        self._broker.left(self)

    def drop(self, now_s: float) -> None:
        """Cut the socket without a word."""
        self.dropped = True
        self.connection.lost("dropped by the broker", now_s)
        if self._transport is not None:
            self._transport.abort()

    def reset(self, now_s: float) -> None:
        """Break the connection as a dead process does that had unread data: with a TCP reset."""
        connection: socket.socket | None = self._transport.get_extra_info("socket") if self._transport else None
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.drop(now_s)

    def flush(self, now_s: float) -> None:
        """Hand collected output to the socket, and close it when the connection is over."""
        data = self.connection.take_output(now_s)
        if self._transport is None:
            return
        if data:
            self._transport.write(data)
        if self.connection.state is State.CLOSED:
            self._transport.close()

    def _on_output(self, connection: Connection) -> None:
        self._broker.has_output(self)

    def _on_timer(self) -> None:
        self._timer = None
        self.connection.tick(time.monotonic())
        self._after_event()

    def _after_event(self) -> None:
        # A connection that ended without a word has no output that would bring it to the flush.
        if self.connection.state is State.CLOSED:
            self._broker.has_output(self)
        self._arm()
        self._broker.changed()

    def _arm(self) -> None:
        # Deadlines mostly move away; a timer that fires early finds nothing to do and is set again.
        deadline_s = self.connection.next_deadline_s()
        if deadline_s is None:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline_s, self._on_timer)
