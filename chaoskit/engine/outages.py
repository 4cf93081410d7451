"""Networks and the broker of a Compose run, taken away and given back: what the engine does, and what the agent.

The agent acts at once, while a message is held: it kills the broker's processes, and lets nothing of a program through.
The containers follow. Each outage is a task; until it is over, the pipeline is not settled.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from chaoskit.engine.pipeline import Pipeline
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import BrokerState, NetworkState
from chaoskit.runtime.compose.link import AgentLink

_BACK_S = 120.0
_LOOK_S = 1.0


class Containers(Protocol):
    """What the engine can do to the containers. Everything raises EnvironmentProblem."""

    async def disconnect(self, program: str) -> None:
        """Take a program's container from its networks."""

    async def connect(self, program: str) -> None:
        """Bring it back to them, under its names."""

    async def end_broker(self, kill: bool) -> None:
        """SIGKILL the broker's container, or stop it in order; returns when it has ended."""

    async def start_broker(self) -> int:
        """Start it; its first process id on the engine's machine."""

    async def check_broker(self) -> None:
        """Raises EnvironmentProblem when it has ended."""


class Outages:
    """Every outage of one run. `queues` says how many messages each queue holds, as far as it is known."""

    def __init__(
        self, pipeline: Pipeline, link: AgentLink, containers: Containers, queues: Callable[[], dict[str, int]]
    ) -> None:
        self._pipeline, self._link, self._containers, self._queues = pipeline, link, containers, queues
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_off: set[str] = set()
        self._back = asyncio.Event()
        self._left: dict[str, int] = {}
        self.of_broker = False

    def cut_off(self, program: str) -> bool:
        """Whether the program's network is away."""
        return program in self._cut_off

    def any(self) -> bool:
        """Whether the broker or a network is away."""
        return self.of_broker or bool(self._cut_off)

    def broker_answers(self, queues: dict[str, int]) -> None:
        """The agent has reached the broker again, and found these queues with so many messages."""
        self._left = queues
        self._back.set()

    # --- networks ---

    def disconnect(self, program: str, for_s: float) -> None:
        """Take the network of a program away for a while; of two that overlap the first one counts."""
        if program not in self._cut_off:
            self._cut_off.add(program)
            self._link.tell("disconnect", program=program)
            self._do(self._without_network(program, for_s), program)

    def undo_unless_begun(self, program: str) -> None:
        """Let through what the agent began to hold back, when that came to nothing."""
        if program not in self._cut_off:
            self._link.tell("reconnect", program=program)

    async def _without_network(self, program: str, for_s: float) -> None:
        try:
            await self._containers.disconnect(program)
            self._pipeline.emit(NetworkState(self._pipeline.now_s(), program, up=False))
            await asyncio.sleep(for_s)
            await self._containers.connect(program)
        finally:
            self._link.tell("reconnect", program=program)
            self._cut_off.discard(program)
        self._pipeline.emit(NetworkState(self._pipeline.now_s(), program, up=True))

    # --- the broker ---

    def hurt_broker(self, for_s: float, kill: bool) -> None:
        """End the broker, and start it again a while after its end."""
        if not self.of_broker:
            self.of_broker = True
            self._link.tell("hurt_broker", kill=kill)
            self._do(self._without_broker(for_s, kill), "broker")

    async def _without_broker(self, for_s: float, kill: bool) -> None:
        await self._containers.end_broker(kill)
        # The answer comes behind every message that the broker still got.
        await self._link.ask("broker_ended")
        self._pipeline.emit(BrokerState(self._pipeline.now_s(), up=False, queues=self._queues()))
        await asyncio.sleep(for_s)
        self._back.clear()
        self._link.tell("broker_started", pid=await self._containers.start_broker())
        await self._until_it_answers()
        self.of_broker = False
        self._pipeline.emit(BrokerState(self._pipeline.now_s(), up=True, queues=self._left))

    async def _until_it_answers(self) -> None:
        try:
            async with asyncio.timeout(_BACK_S):
                while not await self._answers_within(_LOOK_S):
                    await self._containers.check_broker()
        except TimeoutError:
            raise EnvironmentProblem(f"it was started again and does not answer after {_BACK_S:g} s") from None

    async def _answers_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._back.wait()
        except TimeoutError:
            return False

    # --- tasks ---

    def _do(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.ensure_future(self._guarded(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _guarded(self, work: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await work
        except EnvironmentProblem as error:
            if not self._pipeline.stopping:
                self._pipeline.lost(what, str(error))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pipeline.changed.set()
        if not task.cancelled():
            # A bug of ours must not look like a broker that takes long.
            task.result()

    async def close(self) -> None:
        """Leave everything as it is now."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
