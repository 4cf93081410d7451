"""The command that judges runs on this machine, also where the programs are containers: their data is fetched first.

It sees a copy of the data directories, as they are when everything has come to rest, and the logs. What it writes there
reaches no container.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.base import Listener, Runtime
from chaoskit.runtime.local import LocalRuntime

Lost = Callable[[str, str], None]


class JudgingHere:
    """`there` for all programs but the one that judges. `fetch` brings the data home, `lost` hears when it cannot."""

    def __init__(
        self,
        there: Runtime,
        scenario: Scenario,
        run_dir: Path,
        listener: Listener,
        fetch: Callable[[], Awaitable[None]],
        lost: Lost,
    ) -> None:
        self.name = there.name
        self._there, self._fetch, self._lost = there, fetch, lost
        self._last = scenario.verifier.last
        # Who starts containers again is nothing to this runtime, which has one program.
        self._here = LocalRuntime(msgspec.structs.replace(scenario, restart="chaoskit"), run_dir, listener)
        self._judging: asyncio.Task[None] | None = None

    def start(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        if program == self._last:
            self._judging = asyncio.ensure_future(self._judge(program, life, environment))
        else:
            self._there.start(program, life, environment)

    async def _judge(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        try:
            await self._fetch()
            self._here.start(program, life, environment)
        except EnvironmentProblem as e:
            self._lost(program, str(e))

    def _at(self, program: str) -> Runtime:
        return self._here if program == self._last else self._there

    def running(self, program: str) -> bool:
        fetching = program == self._last and self._judging is not None and not self._judging.done()
        return fetching or self._at(program).running(program)

    def starts_again(self, program: str) -> bool:
        return self._at(program).starts_again(program)

    def kill(self, program: str, for_good: bool = False) -> None:
        self._at(program).kill(program, for_good)

    def terminate(self, program: str, for_good: bool = False) -> None:
        self._at(program).terminate(program, for_good)

    async def keep_down(self, program: str) -> None:
        await self._at(program).keep_down(program)

    def pause(self, program: str) -> None:
        self._at(program).pause(program)

    def resume(self, program: str) -> None:
        self._at(program).resume(program)

    async def close(self, grace_s: float) -> None:
        if self._judging is not None:
            self._judging.cancel()
            await asyncio.wait([self._judging])
        try:
            await self._here.close(grace_s)
        finally:
            await self._there.close(grace_s)
