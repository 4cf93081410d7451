"""Publishes copies of messages through a connection of its own, so that no publisher's confirms are disturbed.

The connection is opened by the first copy and kept; a copy counts as published when the broker confirmed it. Copies
go one after the other. One injector serves a whole pipeline. It does not retry: a copy whose confirm did not come is
reported as lost, because sending it again could make two of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from chaoskit.proxy import wire
from chaoskit.proxy.client import ClientError
from chaoskit.proxy.events import (
    INJECTED_PROGRAM,
    PREVIEW_BYTES,
    Change,
    ChangeKind,
    Counts,
    Login,
    OnChange,
    OnMessage,
    Seen,
)
from chaoskit.proxy.lane import Copy
from chaoskit.proxy.outage import Outage
from chaoskit.proxy.publisher import Publisher
from chaoskit.proxy.topology import Topology, name_unresolved


class Injector:
    """Publishes copies to the broker at `upstream` as `user`, in order, in the running event loop."""

    def __init__(
        self,
        upstream: tuple[str, int],
        on_message: OnMessage,
        *,
        user: str = "guest",
        password: str = "guest",
        virtual_host: str = "/",
        on_change: OnChange | None = None,
        counts: Counts | None = None,
        topology: Topology | None = None,
        outage: Outage | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self._upstream = upstream
        self._on_message = on_message
        self._on_change = on_change
        self._login = Login(user, password, virtual_host)
        self._counts = counts or Counts()
        self._topology = topology or Topology()
        self._outage = outage or Outage()
        self._timeout_s = timeout_s
        self._waiting: deque[Copy] = deque()
        self._late: deque[Copy] = deque()
        self._publishing = False
        self._publisher: Publisher | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def late(self) -> int:
        """How many copies wait for `send_late`."""
        return sum(copy.count for copy in self._late)

    @property
    def busy(self) -> bool:
        """Whether a copy is on its way, not yet confirmed or lost; those for `send_late` are not."""
        return bool(self._waiting) or self._publishing

    def log_in_as(self, login: Login) -> None:
        """Publish as somebody else from the next connection on: as the programs themselves, say."""
        if login != self._login:
            self._login = login
            self._disconnect()

    def put(self, copy: Copy) -> None:
        """Publish a copy soon, or keep it for `send_late`; returns at once."""
        if copy.late:
            self._late.append(copy)
        else:
            self._waiting.append(copy)
            self._start()

    async def send_late(self) -> int:
        """Publish the copies that were kept, and return how many; returns when the broker has answered for all."""
        count = self.late
        self._waiting.extend(self._late)
        self._late.clear()
        self._start()
        await self.drain()
        return count

    async def drain(self) -> None:
        """Wait until every copy that was put is published or lost; each takes `timeout_s` at most."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` when every copy that was put is published or lost; at once when that is so now."""
        if self._task is None or self._task.done():
            then()
        else:
            self._task.add_done_callback(lambda _: then())

    async def close(self) -> None:
        """Give up what still waits and close the connection."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._disconnect()

    def _start(self) -> None:
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            await self._publish_waiting()
        finally:
            self._publishing = False

    async def _publish_waiting(self) -> None:
        while self._waiting:
            copy = self._waiting.popleft()
            for left in reversed(range(copy.count)):
                self._publishing = True
                outages = self._outage.count
                problem = await self._publish(copy)
                # Whoever hears of the last copy finds `busy` false already.
                self._publishing = left > 0
                lost: ChangeKind = "copy-away" if self._outage.explains(outages) else "copy-lost"
                self._tell(lost if problem else "copy-sent", problem or ", ".join(self._queues(copy)))

    async def _publish(self, copy: Copy) -> str:
        """Publish once; the reason when that failed, else an empty string."""
        try:
            async with asyncio.timeout(self._timeout_s):
                publisher = await self._connect()
                self._show(copy)
                await publisher.publish(copy.exchange, copy.routing_key, copy.header_payload, copy.body)
        except (OSError, TimeoutError, ClientError) as error:
            self._disconnect()
            return str(error) or f"no answer of the broker in {self._timeout_s:g} s"
        return ""

    async def _connect(self) -> Publisher:
        if self._publisher is None or self._publisher.closed:
            self._publisher = await Publisher.connect(self._upstream, *self._login)
        return self._publisher

    def _disconnect(self) -> None:
        # The state of the connection is not known after a failure, the next copy begins with a new one.
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def _tell(self, kind: ChangeKind, detail: str) -> None:
        if self._on_change is not None:
            self._on_change(Change(kind, INJECTED_PROGRAM, detail))

    def _queues(self, copy: Copy) -> tuple[str, ...]:
        queues = self._topology.resolve(copy.exchange, copy.routing_key)
        return queues or (name_unresolved(copy.exchange, copy.routing_key),)

    def _show(self, copy: Copy) -> None:
        raw_header = wire.make_frame(wire.HEADER, 1, copy.header_payload)
        for queue in self._queues(copy):
            self._on_message(
                Seen(
                    "published",
                    INJECTED_PROGRAM,
                    queue,
                    self._counts.advance("published", queue, injected=True),
                    exchange=copy.exchange,
                    routing_key=copy.routing_key,
                    message_id=wire.read_message_id(raw_header),
                    size_bytes=len(copy.body),
                    preview=copy.body[:PREVIEW_BYTES],
                    injected=True,
                )
            )
