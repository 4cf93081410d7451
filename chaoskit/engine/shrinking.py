"""`chaoskit shrink`: find the smallest plan that still fails, by making runs in laboratories."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chaoskit.checks import judge
from chaoskit.engine import assess, drawing, rundir, wiring
from chaoskit.engine.backends import opened
from chaoskit.engine.conduct import Limits
from chaoskit.engine.interrupts import interruptible
from chaoskit.engine.lab import Task
from chaoskit.engine.labs import Labs
from chaoskit.engine.run import Request, replay_request
from chaoskit.engine.rundir import RunDir
from chaoskit.faults import TABLE
from chaoskit.model import plan as plans
from chaoskit.model.errors import UsageError
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan
from chaoskit.model.scenario import Scenario
from chaoskit.planning.shrink import Shrinker
from chaoskit.runtime.local import kill_marked

_TIMES = 3
_QUIET_S = 1.5


@dataclass(frozen=True)
class Shrunk:
    """The smallest failing plan, the directory of its run, how many runs were made, and whether time ran out."""

    before: Plan
    plan: Plan
    run_dir: RunDir
    runs: int
    out_of_time: bool


def shrink(failing: RunDir, budget_s: float, say: Callable[[Plan], None]) -> Shrunk:
    """Shrink the plan of a saved run that failed, within `budget_s`; `say` hears each smaller plan.

    Raises UsageError when the run did not fail, or does not fail any more.
    """
    request = replay_request(failing)
    code = judge(assess.events_of(failing)).code
    if code is ExitCode.OK:
        raise UsageError(f"{failing} passed: only a run with a FAILURE or a missing verdict can be shrunk")
    if code is not ExitCode.FAILURE:
        raise UsageError(f"{failing} did not fail: only a run with a FAILURE or a missing verdict can be shrunk")
    if request.plan is None or not request.plan.steps:
        raise UsageError(f"{failing} has no faults to shrink: it fails without any")
    run_dir = rundir.create(f"shrink-{request.scenario.name}", request.seed, datetime.now(UTC))
    try:
        return asyncio.run(_search(request, run_dir, budget_s, say))
    finally:
        kill_marked(str(run_dir.path.resolve()))


async def _search(request: Request, run_dir: RunDir, budget_s: float, say: Callable[[Plan], None]) -> Shrunk:
    assert request.plan is not None
    labs = wiring.laboratories(request.runtime, request.scenario, 1, run_dir.path, lambda text, passing: None)
    async with opened(labs):
        search = _Search(request.scenario, run_dir, budget_s, labs)
        searching = asyncio.ensure_future(search.run(request.plan, say))
        # A run in a laboratory of this process would take an interrupt for its own end, and the search go on.
        with interruptible(searching.cancel):
            try:
                return await searching
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None


class _Search:
    """Makes the runs of one search. A plan fails when one of a few runs of it does, for a kill may miss by chance."""

    def __init__(self, scenario: Scenario, run_dir: RunDir, budget_s: float, labs: Labs) -> None:
        self._scenario, self._run_dir = scenario, run_dir
        self._labs = labs
        self._deadline = time.monotonic() + budget_s
        self._runs = 0

    async def run(self, plan: Plan, say: Callable[[Plan], None]) -> Shrunk:
        kept = await self._fails(plan)
        if kept is None:
            raise UsageError(f"the plan did not fail in {_TIMES} runs: what failed before is flaky")
        shrinker = Shrinker(plan, lambda step: TABLE[step.fault].kills)
        while shrinker.candidate is not None and time.monotonic() < self._deadline:
            directory = await self._fails(shrinker.candidate)
            kept = directory or kept
            shrinker.failed(directory is not None)
            if directory:
                say(shrinker.best)
        out_of_time = shrinker.candidate is not None
        return Shrunk(plan, shrinker.best, self._keep(kept, shrinker.best), self._runs, out_of_time)

    async def _fails(self, plan: Plan) -> Path | None:
        """The directory of a failing run of the plan; None when it does not fail."""
        for _ in range(_TIMES):
            self._runs += 1
            directory = self._run_dir.path / "attempts" / str(self._runs)
            limits = Limits(self._scenario.timeout_s, min(_QUIET_S, self._scenario.timeout_s), 0.0)
            outcome = await self._labs.make(Task(self._scenario, plan, str(directory), limits))
            # A step that does not fire any more is left out by a later candidate.
            if outcome.code is ExitCode.FAILURE:
                return directory
            if outcome.code is ExitCode.OK:
                return None
        return None

    def _keep(self, directory: Path, plan: Plan) -> RunDir:
        """Make the smallest failing run the run of this directory."""
        for path in directory.iterdir():
            path.rename(self._run_dir.path / path.name)
        self._run_dir.plan.write_text(plans.dump(plan))
        drawing.save(self._run_dir, assess.assess(self._run_dir))
        return self._run_dir
