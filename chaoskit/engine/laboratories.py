"""Several laboratory processes at work: each makes one experiment at a time, all end with this object."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from chaoskit import tap
from chaoskit.engine.lab import Outcome, Task
from chaoskit.engine.labs import side_by_side
from chaoskit.engine.once import Setup, run_once
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import AnyEvent
from chaoskit.runtime.local import kill_marked
from chaoskit.runtime.processes import MARK

_LINE_LIMIT = 64 * 1024 * 1024
# What a run may take beyond its own limits before its laboratory is taken for dead: start and clean-up.
_OVERHEAD_S = 20.0


class Laboratories:
    """`jobs` laboratory processes below `directory`, started when first needed."""

    prepares = True

    def __init__(self, jobs: int, directory: Path) -> None:
        self.jobs = jobs
        self._directory = directory
        self._free: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()
        self._all: list[asyncio.subprocess.Process] = []
        for _ in range(jobs):
            self._free.put_nowait(None)

    async def open(self) -> None:
        """They are started when they are first needed."""

    def tap_unavailable(self) -> str | None:
        return tap.unavailable()

    async def control(self, setup: Setup) -> list[AnyEvent]:
        return await run_once(setup)

    async def make(self, task: Task) -> Outcome:
        """Make one run in a laboratory that is free. Raises EnvironmentProblem when the laboratory dies of it."""
        lab = await self._free.get() or await self._start()
        try:
            async with asyncio.timeout(task.limits.timeout_s + task.limits.grace_s + _OVERHEAD_S):
                return await _ask(lab, task)
        except TimeoutError:
            lab.kill()
            raise EnvironmentProblem(f"an experiment did not come to its end: {task.directory}") from None
        finally:
            self._free.put_nowait(lab if lab.returncode is None else None)

    async def _start(self) -> asyncio.subprocess.Process:
        lab = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chaoskit.engine.lab",
            str(self._directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            start_new_session=True,
            env={**os.environ, MARK: str(self._directory)},
        )
        self._all.append(lab)
        return lab

    async def each(self, source: Callable[[], Awaitable[bool]]) -> None:
        await side_by_side(self.jobs, source)

    async def close(self) -> None:
        """Kill the laboratories and everything in them."""
        for lab in self._all:
            with contextlib.suppress(ProcessLookupError):
                lab.kill()
            await lab.wait()
        kill_marked(str(self._directory))


async def _ask(lab: asyncio.subprocess.Process, task: Task) -> Outcome:
    assert lab.stdin is not None and lab.stdout is not None
    lab.stdin.write(msgspec.json.encode(task) + b"\n")
    with contextlib.suppress(ConnectionError):
        await lab.stdin.drain()
    line = await lab.stdout.readline()
    if not line:
        await lab.wait()
        raise EnvironmentProblem(f"a laboratory ended with code {lab.returncode} at {task.directory}")
    return msgspec.json.decode(line, type=Outcome)
