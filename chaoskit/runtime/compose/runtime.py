"""The Compose runtime: the programs of one run as containers of a project that is up (`stack`).

What happens to a life that is about to begin or has just ended beside its container is the affair of `Front`: the taps
and the proxies. The verbs begin their work and do not wait; what goes wrong in it is told as lost.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.base import Listener
from chaoskit.runtime.compose.engine import ERRORS, problem_of
from chaoskit.runtime.compose.lives import GivenUp, Life, Log
from chaoskit.runtime.compose.stack import Stack

_PID_UNKNOWN = 0
# Policies by which an engine starts a container again however it ends.
_RESTARTED_ALWAYS = ("always", "unless-stopped")
_CLOSE_EXTRA_S = 20.0


class Front(Protocol):
    """What stands before the containers."""

    def tapped(self, program: str) -> bool:
        """Whether its calls are to be seen."""

    async def prepare(self, program: str, life: int, container: str) -> None:
        """A life is about to begin. Raises EnvironmentProblem."""

    async def started(self, program: str, pid: int) -> None:
        """It has begun."""

    async def signal(self, program: str, number: int) -> bool:
        """Signal its first process; whether there was one that is known."""

    async def ended(self, program: str) -> None:
        """It has ended; returns when everything that happened in it has been told."""


class ComposeRuntime:
    """Programs of `scenario` as containers of `stack`; logs and, in the end, data below `run_dir`.

    `lost(what, reason)` hears of what the engine failed to do.
    """

    name = "compose"

    def __init__(
        self,
        stack: Stack,
        scenario: Scenario,
        run_dir: Path,
        listener: Listener,
        front: Front,
        lost: Callable[[str, str], None],
    ) -> None:
        self._stack, self._scenario, self._run_dir = stack, scenario, run_dir
        self._listener, self._front, self._lost = listener, front, lost
        self._containers: dict[str, str] = {}
        self._removed: set[str] = set()
        self._running: dict[str, asyncio.Event] = {}
        self._begun: dict[str, int] = {}
        self._started_at: dict[str, str] = {}
        self._engine_restarts = scenario.restart == "engine"
        self._closing = self._over = False
        self._paused: set[str] = set()
        self._logs: dict[str, Log] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._acting: dict[str, asyncio.Lock] = {}

    # --- lives ---

    def start(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        self._running[program] = asyncio.Event()
        directories = {"data": self._scenario.programs[program].data_dir}
        environment = self._scenario.filled(program, environment, directories)
        self._do(program, self._begin(program, life, environment), "starting")

    async def _begin(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        if program not in self._containers:
            self._containers[program] = await self._stack.create(program, environment, self._front.tapped(program))
        container = self._containers[program]
        await self._front.prepare(program, life, self._stack.name_of(container))
        born = Life(
            self._stack.client,
            container,
            self._log(program),
            lambda text: self._unless_over(lambda: self._line(program, life, text)),
            lambda code: self._unless_over(lambda: self._do(program, self._end(program, life, code), "ending")),
            lambda reason: self._unless_over(lambda: self._lost(program, reason)),
            after=self._started_at.get(program) if self._engine_restarts else None,
            given_up=lambda: self._closing or program not in self._started_at,
        )
        try:
            pid = await born.begin()
        except GivenUp:
            self._running[program].set()
            return
        self._started_at[program] = born.started_at
        self.began(program, life, pid)
        if pid:
            await self._front.started(program, pid)

    def began(self, program: str, life: int, pid: int = _PID_UNKNOWN) -> None:
        """A life has begun: said by whoever notices first, the engine or somebody who hears from it."""
        if self._begun.get(program, -1) < life:
            self._begun[program] = life
            self._listener.program_started(program, life, pid)

    def _unless_over(self, tell: Callable[[], None]) -> None:
        """What a container does that did not end with its run goes into no journal."""
        if not self._over:
            tell()

    def _line(self, program: str, life: int, text: str) -> None:
        self.began(program, life)
        self._listener.program_line(program, life, text)

    async def _end(self, program: str, life: int, code: int) -> None:
        try:
            await self._front.ended(program)
        finally:
            self._running[program].set()
            self._paused.discard(program)
            self._listener.program_exited(program, life, code)

    def _log(self, program: str) -> Log:
        if program not in self._logs:
            self._logs[program] = Log(self._run_dir / "logs" / f"{program}.log")
        return self._logs[program]

    def running(self, program: str) -> bool:
        ended = self._running.get(program)
        return ended is not None and not ended.is_set()

    def starts_again(self, program: str) -> bool:
        return self._engine_restarts and self._stack.restart_policy(program) in _RESTARTED_ALWAYS

    def container_of(self, program: str) -> str:
        """The container of a program that has been started."""
        return self._containers[program]

    # --- signals ---

    def kill(self, program: str, for_good: bool = False) -> None:
        self._signal(program, signal.SIGKILL, for_good)

    def terminate(self, program: str, for_good: bool = False) -> None:
        self._signal(program, signal.SIGTERM, for_good)

    async def keep_down(self, program: str) -> None:
        if not self._engine_restarts or program not in self._containers:
            return
        # Not in turn: whoever has the turn may wait for the engine, and sees a start that came before this.
        await self._stack.stop(self._containers[program], 0)
        self._started_at.pop(program, None)
        async with self._turn(program):
            # A life that began at the last moment has noted when.
            self._started_at.pop(program, None)

    def pause(self, program: str) -> None:
        # One that is paused already stays so, until the first of them is over.
        if self.running(program) and program not in self._paused:
            self._paused.add(program)
            self._act(program, "pausing", self._stack.client.api.pause)

    def resume(self, program: str) -> None:
        # A life that was paused may have been killed, and thawed for that, in between.
        if program in self._paused:
            self._paused.discard(program)
            self._act(program, "resuming", self._stack.client.api.unpause)

    def _signal(self, program: str, number: int, for_good: bool) -> None:
        if number == signal.SIGKILL:
            # A frozen process does not die before it is thawed.
            self.resume(program)
        if self.running(program):
            self._do(program, self._send(program, number, for_good), "signalling")

    async def _send(self, program: str, number: int, for_good: bool) -> None:
        # What the engine kills it does not start again, so the signal comes from beside it where that is its part.
        if for_good:
            self._started_at.pop(program, None)
        if for_good or not await self._front.signal(program, number):
            await self._at_running(program, lambda container: self._stack.client.api.kill(container, number))

    def _act(self, program: str, doing: str, act: Callable[[str], object]) -> None:
        if self.running(program):
            self._do(program, self._at_running(program, act), doing)

    async def _at_running(self, program: str, act: Callable[[str], object]) -> None:
        if program not in self._containers:
            # It could not be made, which was told.
            return
        try:
            await asyncio.to_thread(act, self._containers[program])
        except ERRORS:
            # A container that has ended meanwhile cannot be signalled; anything else is the engine's failure.
            if self._running[program].is_set() or not await asyncio.to_thread(self._alive, program):
                return
            raise

    def _alive(self, program: str) -> bool:
        return bool(self._stack.client.api.inspect_container(self._containers[program])["State"]["Running"])

    # --- tasks ---

    def _do(self, program: str, work: Coroutine[Any, Any, None], doing: str) -> None:
        """Do one thing after the other with a program, none of them waited for."""
        task = asyncio.ensure_future(self._in_turn(program, work, doing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _turn(self, program: str) -> asyncio.Lock:
        return self._acting.setdefault(program, asyncio.Lock())

    async def _in_turn(self, program: str, work: Coroutine[Any, Any, None], doing: str) -> None:
        async with self._turn(program):
            try:
                await work
            except EnvironmentProblem as error:
                self._failed(program, doing, str(error))
            except (*ERRORS, OSError) as error:
                self._failed(program, doing, str(problem_of(error, doing)))

    def _failed(self, program: str, doing: str, reason: str) -> None:
        if doing == "starting":
            self._running[program].set()
            if self._closing:
                # Nobody waits for it any more.
                return
        self._lost(program, reason)

    # --- the end ---

    async def close(self, grace_s: float) -> None:
        self._closing = True
        for program in list(self._paused):
            self.resume(program)
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        try:
            await (self._stop(grace_s) if grace_s else self._remove_running())
            async with asyncio.timeout(grace_s + _CLOSE_EXTRA_S):
                await asyncio.gather(*(ended.wait() for ended in self._running.values()))
        except TimeoutError:
            self._lost("the engine", "a container that was stopped did not end")
        except EnvironmentProblem as error:
            self._lost("the engine", str(error))
        finally:
            self._over = True
            for log in self._logs.values():
                log.close()

    async def _stop(self, grace_s: float) -> None:
        await asyncio.gather(*(self._stack.stop(container, grace_s) for container in self._containers.values()))

    async def _remove_running(self) -> None:
        """Without a grace the end of a container and its removal are one: a signal from beside it is the quickest."""
        running = [program for program in self._containers if self.running(program)]
        await asyncio.gather(*(self._front.signal(program, signal.SIGKILL) for program in running))
        await self.remove()

    async def remove(self) -> None:
        """Remove the containers, with their anonymous volumes. Raises EnvironmentProblem."""
        # Whoever still undoes something at a container finds its id, and no container.
        containers = [container for container in self._containers.values() if container not in self._removed]
        self._removed.update(containers)
        await asyncio.gather(*(self._stack.remove(container) for container in containers))
