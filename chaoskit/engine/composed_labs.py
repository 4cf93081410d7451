"""Laboratories of containers: several Compose projects side by side, each with a broker that stays warm.

All of them are driven from this process: what takes time is the engine's and the containers', not ours.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from chaoskit.engine.backends import Backend
from chaoskit.engine.lab import Outcome, Task, perform
from chaoskit.engine.labs import side_by_side
from chaoskit.engine.once import Setup, run_once
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import AnyEvent
from chaoskit.model.exit_codes import ExitCode

# What an experiment may take beyond its own limits before its project is taken for dead.
_OVERHEAD_S = 60.0
# So many experiments a project are made before another one is brought up, which costs about as much as they do.
_WORTH_A_PROJECT = 5


class ComposeLaboratories:
    """Up to `jobs` projects.

    Another one is brought up when `worth` experiments a project were made: a small exploration is over before it helps.
    """

    prepares = False

    def __init__(self, jobs: int, make_backend: Callable[[], Backend], worth: int = _WORTH_A_PROJECT) -> None:
        self.jobs = jobs
        self._make_backend = make_backend
        self._first = make_backend()
        self._all = [self._first]
        # A project that is up already is taken before another one is brought up.
        self._free: asyncio.LifoQueue[Backend | None] = asyncio.LifoQueue()
        self._worth, self._room, self._made = worth, 1, 0

    async def open(self) -> None:
        await self._first.open()
        self._make_room()
        self._free.put_nowait(self._first)

    def tap_unavailable(self) -> str | None:
        return self._first.tap_unavailable()

    async def control(self, setup: Setup) -> list[AnyEvent]:
        backend = await self._take()
        try:
            return await run_once(replace(setup, backend=backend, keep_data=False))
        finally:
            self._free.put_nowait(backend)

    async def make(self, task: Task) -> Outcome:
        backend = await self._take()
        kept: Backend | None = backend
        try:
            async with asyncio.timeout(task.limits.timeout_s + task.limits.grace_s + _OVERHEAD_S):
                outcome = await perform(task, backend)
            if outcome.code is ExitCode.ENVIRONMENT:
                # Its agent may be gone, or its broker: the next experiment must not meet that again.
                kept = None
                await self._give_up(backend)
            return outcome
        except TimeoutError:
            kept = None
            await self._give_up(backend)
            raise EnvironmentProblem(f"an experiment did not come to its end: {task.directory}") from None
        finally:
            self._made += 1
            self._make_room()
            self._free.put_nowait(kept)

    def _make_room(self) -> None:
        """For another project, when it is time for one."""
        while self._room < self.jobs and self._made >= self._worth * self._room:
            self._room += 1
            self._free.put_nowait(None)

    async def _take(self) -> Backend:
        backend = await self._free.get()
        if backend is not None:
            return backend
        backend = self._make_backend()
        self._all.append(backend)
        try:
            await backend.open()
        except BaseException:
            try:
                await self._give_up(backend)
            finally:
                self._free.put_nowait(None)
            raise
        return backend

    async def _give_up(self, backend: Backend) -> None:
        self._all.remove(backend)
        await backend.close()

    async def each(self, source: Callable[[], Awaitable[bool]]) -> None:
        await side_by_side(self.jobs, source)

    async def close(self) -> None:
        # Each of them, whatever becomes of the others.
        results = await asyncio.gather(*(backend.close() for backend in self._all), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
