"""The broker as the containers of a run see it: its port, behind which a proxy of each program's own leads on.

One address serves all of them, so a connection belongs to the program whose container it comes from. Ports that speak
no AMQP (the management interface, say) are passed through unread.
"""

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from chaoskit.agent.depths import Depths
from chaoskit.agent.messages import MessageSteps
from chaoskit.agent.passing import pass_through
from chaoskit.agent.peers import Peers
from chaoskit.agent.process import Process, listener
from chaoskit.agent.reaching import answers
from chaoskit.agent.tasks import raised
from chaoskit.agent.wire import AMQP_PORT
from chaoskit.proxy import Action, Change, Counts, Injector, Login, Outage, Proxy, Seen, Topology

_BACKLOG = 128
_LOOK_AGAIN_S = 0.1
Tell = Callable[..., None]


class Broker:
    """The front of the broker at `host`. `tell` gets events, `decided` what became of steps at messages."""

    def __init__(self, host: str, ports: list[int], peers: Peers, tell: Tell, decided: Callable[..., None]) -> None:
        self._upstream = (host, AMQP_PORT)
        self._ports, self._peers = ports, peers
        self._tell, self._decided = tell, decided
        self._steps = MessageSteps([], lambda program: False)
        self._listeners: list[asyncio.Task[None]] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._sending_late: asyncio.Task[int] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._process = Process()
        # Whoever connects while everything is made anew for the next run belongs to that one, and waits for it.
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        self._new_life()

    def _new_life(self) -> None:
        self._counts, self._topology, self._outage = Counts(), Topology(), Outage()
        self._proxies: dict[str, Proxy] = {}
        self._injector = Injector(
            self._upstream,
            self._on_message,
            on_change=self._on_change,
            counts=self._counts,
            topology=self._topology,
            outage=self._outage,
        )
        self._depths = Depths(self._upstream, self.unacked, self._on_depths, self._outage)

    async def start(self) -> None:
        """Listen on the broker's ports, at every address of this container. Raises OSError."""
        await self._listen(AMQP_PORT, self._serve)
        for port in self._ports:
            await self._listen(port, partial(pass_through, upstream=(self._upstream[0], port)))

    async def _listen(self, port: int, serve: Callable[[socket.socket], Any]) -> None:
        listening = socket.create_server(("", port), backlog=_BACKLOG)
        listening.setblocking(False)
        accepting = asyncio.ensure_future(self._accept(listening, serve))
        accepting.add_done_callback(raised)
        self._listeners.append(accepting)

    async def _accept(self, listening: socket.socket, serve: Callable[[socket.socket], Any]) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                connection, _ = await loop.sock_accept(listening)
                task = asyncio.ensure_future(serve(connection))
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
                task.add_done_callback(raised)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            program = await self._peers.program_at(connection.getpeername()[0])
            await self._is_whole.wait()
            await self._proxy(program).take(connection)
        except OSError:
            # It has gone before it was served.
            connection.close()

    def _proxy(self, program: str) -> Proxy:
        if program not in self._proxies:
            self._proxies[program] = Proxy(
                program,
                self._upstream,
                self._on_message,
                on_change=self._on_change,
                counts=self._counts,
                topology=self._topology,
                injector=self._injector,
                on_login=self._on_login,
                outage=self._outage,
            )
        return self._proxies[program]

    # --- what is seen ---

    def _on_login(self, login: Login) -> None:
        self._injector.log_in_as(login)
        self._depths.log_in_as(login)

    def _on_message(self, seen: Seen) -> Action:
        self._depths.noticed(seen.queue)
        self._tell(
            "message",
            program=seen.program,
            kind=seen.kind,
            queue=seen.queue,
            nth=seen.nth,
            message_id=seen.message_id,
            size=seen.size_bytes,
            redelivered=seen.redelivered,
            injected=seen.injected,
        )
        decision = self._steps.decide(seen)
        if decision.due or decision.fired or decision.failed:
            self._decided(decision, seen)
        return decision.action

    def _on_change(self, change: Change) -> None:
        if change.kind == "disconnected":
            self._depths.disconnected()
        self._depths.noticed(change.detail if change.kind in ("consuming", "cancelled") else "")
        proxy = self._proxies.get(change.program)
        consumers = sorted(proxy.consumers()) if proxy is not None else []
        self._tell("change", kind=change.kind, program=change.program, detail=change.detail, consumers=consumers)

    def _on_depths(self, depths: Mapping[str, list[int]]) -> None:
        late = self._sending_late is not None and not self._sending_late.done()
        held = late or self._injector.busy or any(proxy.delaying for proxy in self._proxies.values())
        self._tell("depths", queues=dict(depths), held=held, late=self._injector.late)
        if held:
            # Nobody tells when a delay is over.
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._depths.noticed, "")

    def unacked(self) -> Counter[str]:
        """Messages that were delivered to somebody and are not settled, by queue."""
        return sum((proxy.unacked() for proxy in self._proxies.values()), Counter())

    # --- what is done ---

    def begin(self, steps: MessageSteps) -> None:
        """A run begins: these steps wait for its messages."""
        self._steps = steps
        self._is_whole.set()

    def connected(self, program: str) -> bool:
        """Whether the program has a connection through to the broker."""
        return program in self._proxies and self._proxies[program].connected

    def is_cut_off(self, program: str) -> bool:
        """Whether the program is without a network already."""
        return program in self._proxies and self._proxies[program].cut_off

    def cut(self, program: str) -> None:
        """Break the program's connections."""
        if program in self._proxies:
            self._proxies[program].cut()

    def disconnect(self, program: str) -> None:
        """Let nothing of the program through, as if its network were gone."""
        self._proxy(program).disconnect()

    def reconnect(self, program: str) -> None:
        """Let everything through again."""
        self._proxy(program).reconnect()

    # --- the broker, hurt ---

    @property
    def is_up(self) -> bool:
        """Whether nobody hurts the broker."""
        return not self._outage.is_on

    def runs_as(self, pid: int) -> None:
        """The broker's first process on this machine; 0 when it is not known."""
        self._process.close()
        self._process = Process(pid)

    def hurt(self, kill: bool) -> None:
        """The broker is about to end: killed by us, so that nothing that is held reaches it any more, or in order."""
        self._outage.begin(in_order=not kill)
        if kill:
            self._process.send(signal.SIGKILL)
            self._cut_all()
        elif (pid := listener(AMQP_PORT, self._process.pid)) is not None:
            # The engine asks the first process of the container, and that may not pass it on.
            asked = Process(pid)
            asked.send(signal.SIGTERM)
            asked.close()

    def has_ended(self) -> None:
        """The broker is away; whoever still waits for it need not."""
        self._outage.begin(in_order=False)
        self._cut_all()

    def _cut_all(self) -> None:
        for proxy in self._proxies.values():
            if not proxy.cut_off:
                proxy.cut()

    def is_returning(self, pid: int) -> None:
        """The broker was started again: let programs to it, and tell, when it answers."""
        self.runs_as(pid)
        self._returning = asyncio.ensure_future(self.returned())
        self._returning.add_done_callback(raised)

    async def returned(self) -> None:
        """Wait until the broker answers again, and tell what its queues hold before anybody is let in."""
        while not await answers(self._upstream) or (left := await self._depths.left()) is None:
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._outage.end()
        self._depths.noticed("")
        self._tell("broker", queues=left)

    def send_late(self) -> None:
        """Send the copies that were kept for the end."""
        self._sending_late = asyncio.ensure_future(self._injector.send_late())
        self._sending_late.add_done_callback(raised)
        self._sending_late.add_done_callback(lambda _: self._depths.noticed(""))

    async def reset(self) -> None:
        """Break every connection and empty the broker, for the next run. Raises OSError when it does not answer.

        Nobody is let in again before that one begins.
        """
        if self._returning is not None:
            self._returning.cancel()
        self._is_whole.clear()
        await self._disconnect()
        await self._depths.forget()
        self._depths.close()
        self._new_life()

    async def _disconnect(self) -> None:
        self._steps = MessageSteps([], lambda program: False)
        await self._injector.close()
        for proxy in self._proxies.values():
            await proxy.close()

    async def close(self) -> None:
        """Stop listening, break every connection."""
        for task in (*self._listeners, *self._serving, *([self._returning] if self._returning else ())):
            task.cancel()
        self._process.close()
        with suppress(OSError):
            await self._disconnect()
        self._depths.close()
