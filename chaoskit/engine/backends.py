"""Where the runs of a command take place: on this machine, or in a Compose project that is brought up for them.

A backend is opened once and gives every run what it runs on: `assemble`, then, when the run is over, `settle`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from chaoskit.engine.executor import Executor
from chaoskit.engine.interrupts import interruptible
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.starting import Starter, start_new
from chaoskit.model.scenario import Scenario

RuntimeName = Literal["local", "compose"]


@dataclass(frozen=True)
class Stage:
    """One run to be assembled. `surveyed` notes at each call what a power loss could leave, `tapped` False leaves the
    tap out, `starter` begins the lives of local programs."""

    scenario: Scenario
    run_dir: Path
    pipeline: Pipeline
    executor: Executor
    surveyed: bool = False
    tapped: bool = True
    starter: Starter = start_new


class Opened(Protocol):
    """What is brought up once, and has to be taken down."""

    async def open(self) -> None:
        """Bring up what outlives a run. Raises UsageError and EnvironmentProblem; `close` follows even then."""

    async def close(self) -> None:
        """Leave nothing behind."""


class Backend(Opened, Protocol):
    """Where runs take place."""

    name: RuntimeName

    def tap_unavailable(self) -> str | None:
        """Why system calls cannot be tapped there, in one line; None when they can."""

    async def assemble(self, stage: Stage) -> None:
        """Attach a runtime and connections to the stage's pipeline. Raises EnvironmentProblem."""

    def digest(self, run_dir: Path) -> str:
        """A digest of the data directories of the run that is going on, as they were at the last start of a program."""

    async def fetch(self, stage: Stage) -> None:
        """Have the data directories of a run as they are now below its directory. Raises EnvironmentProblem."""

    async def settle(self, stage: Stage, keep_data: bool) -> None:
        """A run is over, its pipeline closed: take its data home (where it is to be kept), remove what was its own."""


@contextlib.asynccontextmanager
async def opened(backend: Opened) -> AsyncIterator[None]:
    """Bring a backend up for a block, and leave nothing behind, also when it is interrupted while it comes up.

    Raises KeyboardInterrupt for that. Interrupts while it is taken down change nothing: it is at its end.
    """
    interrupted = False
    try:
        interrupted = await _open(backend)
        if not interrupted:
            yield
    finally:
        with interruptible(lambda: None):
            await backend.close()
    if interrupted:
        raise KeyboardInterrupt


async def _open(backend: Opened) -> bool:
    """Open it; whether that was interrupted."""
    opening = asyncio.ensure_future(backend.open())
    with interruptible(opening.cancel):
        try:
            await opening
        except asyncio.CancelledError:
            return True
    return False


def tapped_programs(scenario: Scenario, executor: Executor) -> set[str]:
    """The scenario's targets, and whoever else a step hurts at a call."""
    return {*scenario.target, *(step.target for _, step in executor.call_steps())}
