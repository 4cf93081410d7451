"""A man in the middle for one program: listens on loopback and connects on to the broker.

One asyncio loop may run many proxies. No TLS: an encrypted connection passes through unread. The callbacks run in the
loop and have to be quick; an exception in one breaks the connection it came from and is reported by the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial

from chaoskit.proxy.conversation import Conversation
from chaoskit.proxy.events import Change, ChangeKind, Counts, OnChange, OnLogin, OnMessage
from chaoskit.proxy.injector import Injector
from chaoskit.proxy.lane import Copy
from chaoskit.proxy.link import End, Link
from chaoskit.proxy.outage import Outage
from chaoskit.proxy.topology import Topology

HOLD_LIMIT_BYTES = 64 << 20
"""A message with a larger body is streamed: it can be delayed, dropped and cut at its header, not duplicated."""

_CONNECT_TIMEOUT_S = 10.0


class Proxy:
    """The connections of one program. Share `counts`, `topology` and `injector` between a pipeline's proxies.

    on_message: called for each message before its bytes go on, answers what to do. on_change: called when
    connections and consumers come and go. injector: publishes duplicates; without one they are reported as lost.
    on_login: called with who the program is to the broker, for each connection. outage: says when a broker that does
    not answer was hurt on purpose.
    """

    def __init__(
        self,
        program: str,
        upstream: tuple[str, int],
        on_message: OnMessage,
        *,
        on_change: OnChange | None = None,
        counts: Counts | None = None,
        topology: Topology | None = None,
        injector: Injector | None = None,
        on_login: OnLogin | None = None,
        outage: Outage | None = None,
        listen_host: str = "127.0.0.1",
        listen_port: int = 0,
        hold_limit_bytes: int = HOLD_LIMIT_BYTES,
    ) -> None:
        self._program = program
        self._upstream = upstream
        self._on_message = on_message
        self._on_change = on_change
        self._counts = counts or Counts()
        self._topology = topology or Topology()
        self._injector = injector
        self._on_login = on_login
        self._outage = outage or Outage()
        self._cut_off = False
        self._listen = (listen_host, listen_port)
        self._hold_limit_bytes = hold_limit_bytes
        self._server: asyncio.Server | None = None
        self._links: set[Link] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that the program connects to. Raises RuntimeError before `start`."""
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the proxy does not listen: call start() first")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connected(self) -> bool:
        """Whether the program has a connection through to the broker."""
        return any(link.connected for link in self._links)

    @property
    def delaying(self) -> bool:
        """Whether a message is held back by a Delay right now."""
        return any(link.delaying for link in self._links)

    @property
    def cut_off(self) -> bool:
        """Whether the program is without a network."""
        return self._cut_off

    def consumers(self) -> set[str]:
        """The queues that the program consumes from right now (the broker's consume-ok was seen)."""
        return {queue for link in self._links for queue in link.consumers()}

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        self._server = await asyncio.get_running_loop().create_server(self._accept, *self._listen)

    async def take(self, connection: socket.socket) -> None:
        """Serve a connection of the program that somebody else accepted."""
        await asyncio.get_running_loop().connect_accepted_socket(self._accept, connection)

    def unacked(self) -> Counter[str]:
        """How many messages of each queue were delivered to the program and are not settled."""
        return sum((link.unacked() for link in self._links), Counter())

    def cut(self) -> None:
        """Break every connection now; new ones are accepted."""
        for link in list(self._links):
            link.reset()

    def disconnect(self) -> None:
        """Let nothing through any more, in either direction, and close nothing; new connections are reset."""
        self._cut_off = True
        for link in list(self._links):
            link.freeze()

    def reconnect(self) -> None:
        """Let everything through again, what was held first."""
        self._cut_off = False
        for link in list(self._links):
            link.thaw()

    async def close(self) -> None:
        """Stop listening and break every connection; returns when all sockets are closed."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._connecting:
            task.cancel()
        self.cut()
        waiting = [*self._connecting, *(link.done for link in self._links)]
        if waiting:
            await asyncio.wait(waiting)
        if server is not None:
            await server.wait_closed()

    def _accept(self) -> End:
        conversation = Conversation(
            self._program,
            self._on_message,
            self._change,
            self._counts,
            self._topology,
            self._hold_limit_bytes,
            self._on_login,
        )
        link = Link(conversation, self._publish_copy, partial(self._tell, "disconnected"))
        link.done.add_done_callback(lambda _: self._links.discard(link))
        self._links.add(link)
        task = asyncio.get_running_loop().create_task(self._connect(link))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return link.client

    async def _connect(self, link: Link) -> None:
        if self._cut_off or self._outage.is_away:
            link.reset()
            self._tell("away", "its network is gone" if self._cut_off else "the broker is down")
            return
        host, port = self._upstream
        outages = self._outage.count
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: link.broker, host, port)
        except (OSError, TimeoutError) as error:
            link.reset()
            kind: ChangeKind = "away" if self._outage.explains(outages) else "refused"
            self._tell(kind, f"{host}:{port}: {error or 'no answer'}")
            return
        if self._cut_off:
            link.reset()
        elif link.join():
            self._tell("connected")

    def _publish_copy(self, copy: Copy, then: Callable[[], None]) -> None:
        if self._injector is None:
            self._tell("copy-lost", "this proxy was given no injector")
            then()
        else:
            self._injector.put(copy)
            self._injector.when_idle(then)

    def _change(self, change: Change) -> None:
        if self._on_change is not None:
            self._on_change(change)

    def _tell(self, kind: ChangeKind, detail: str = "") -> None:
        self._change(Change(kind, self._program, detail))
