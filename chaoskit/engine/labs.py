"""What an exploration needs of the laboratories in which its experiments are made."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from chaoskit.engine.lab import Outcome, Task
from chaoskit.engine.once import Setup
from chaoskit.model.events import AnyEvent


class Labs(Protocol):
    """Several places for experiments. `prepares`: programs can be started as copies of prepared interpreters."""

    jobs: int
    prepares: bool

    async def open(self) -> None:
        """Bring up what is needed for the first run. Raises UsageError and EnvironmentProblem."""

    def tap_unavailable(self) -> str | None:
        """Why system calls cannot be seen there, in one line; None when they can."""

    async def control(self, setup: Setup) -> list[AnyEvent]:
        """Make a run that is no experiment."""

    async def make(self, task: Task) -> Outcome:
        """Make an experiment where there is room. Raises EnvironmentProblem when that was lost over it."""

    async def each(self, source: Callable[[], Awaitable[bool]]) -> None:
        """Call `source` as often at a time as there is room, until each has said that nothing is left."""

    async def close(self) -> None:
        """Leave nothing behind."""


async def side_by_side(jobs: int, source: Callable[[], Awaitable[bool]]) -> None:
    """Call `source` in `jobs` tasks, in each of them until it says False."""

    async def work() -> None:
        while await source():
            pass

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(work())
