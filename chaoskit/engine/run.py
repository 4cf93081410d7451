"""`chaoskit run` and `chaoskit replay`: control run, plan, run with faults, report."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from chaoskit import journal
from chaoskit.checks import judge
from chaoskit.engine import assess, drawing, rundir, wiring
from chaoskit.engine.backends import Backend, RuntimeName, opened
from chaoskit.engine.conduct import Limits
from chaoskit.engine.holding import held
from chaoskit.engine.once import Setup, run_once
from chaoskit.engine.rundir import RunDir
from chaoskit.faults import TABLE, check_plan
from chaoskit.model import plan as plans
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, RunStarted
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.run import Report
from chaoskit.model.scenario import Scenario
from chaoskit.planning.draw import draw
from chaoskit.runtime.local import kill_marked

# A run may be quiet for this many times the longest silence of its control run before it is given up.
_QUIET_FACTOR = 5
_LEAST_QUIET_S = 2.0
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What the user asked for. A given `plan` is carried out as it is; else one is drawn from the seed.

    `recurring` are steps at intervals that go along with what is drawn; `each` deals the kills out to all targets.
    """

    scenario: Scenario
    seed: int
    kills: int = 0
    duplicates: int = 0
    plan: Plan | None = None
    control: bool = True
    keep: bool = False
    runtime: RuntimeName = "local"
    recurring: tuple[Step, ...] = ()
    each: bool = False


class Watcher:
    """Hears how a run comes along. The command line draws it; by default nobody listens."""

    def phase(self, name: str, run_dir: RunDir) -> None:
        """A control run or the run itself begins."""

    def progress(self, text: str, passing: bool) -> None:
        """Something that takes time before the first run: an image is pulled (a `passing` line), a broker starts."""

    def planned(self, plan: Plan) -> None:
        """The plan is made."""

    def event(self, event: AnyEvent) -> None:
        """Something happened."""


def limits_for(scenario: Scenario, control: Sequence[AnyEvent] | None) -> Limits:
    """The limits of a run, from the scenario and from how its control run went."""
    if control is None:
        return Limits(timeout_s=scenario.timeout_s)
    quiet_s = max(_LEAST_QUIET_S, _QUIET_FACTOR * assess.longest_silence_s(control))
    return Limits(timeout_s=scenario.timeout_s, quiet_s=min(quiet_s, scenario.timeout_s))


def run(request: Request, watcher: Watcher) -> Report:
    """Carry out a request; the report is also in its run directory. Raises UsageError and EnvironmentProblem."""
    _check(request)
    run_dir = rundir.create(request.scenario.name, request.seed, datetime.now(UTC))
    with _leaving_nothing(run_dir, request.keep):
        return asyncio.run(_with_backend(request, watcher, lambda there: _run(request, run_dir, watcher, there)))


def make_plan(request: Request, watcher: Watcher) -> Plan:
    """The plan that `run` would carry out, after a control run. Raises UsageError when that is not green."""
    _check(request)
    if request.plan is not None:
        return request.plan
    run_dir = rundir.create(request.scenario.name, request.seed, datetime.now(UTC))
    with _leaving_nothing(run_dir, request.keep):
        control = asyncio.run(_with_backend(request, watcher, lambda there: _control(request, run_dir, watcher, there)))
    if judge(control).code is not ExitCode.OK:
        raise UsageError(f"the control run is not green, so there is no plan: chaoskit report {run_dir}")
    return _draw(request, control)


async def _with_backend(request: Request, watcher: Watcher, work: Callable[[Backend], Awaitable[T]]) -> T:
    backend = wiring.backend(request.runtime, request.scenario, watcher.progress)
    async with opened(backend):
        return await work(backend)


async def _run(request: Request, run_dir: RunDir, watcher: Watcher, backend: Backend) -> Report:
    control: list[AnyEvent] | None = None
    if request.control and (request.kills or request.duplicates or request.plan or request.recurring):
        control = await _control(request, run_dir, watcher, backend)
        if judge(control).code is not ExitCode.OK:
            return _saved(run_dir, assess.report(run_dir, control, control))
    plan = _draw(request, control or [])
    run_dir.plan.write_text(plans.dump(plan))
    watcher.planned(plan)
    watcher.phase("run", run_dir)
    limits = limits_for(request.scenario, control)
    setup = Setup(request.scenario, plan, run_dir, limits=limits, observer=watcher.event, backend=backend)
    return _saved(run_dir, assess.report(run_dir, await run_once(setup), control))


async def _control(request: Request, run_dir: RunDir, watcher: Watcher, backend: Backend) -> list[AnyEvent]:
    watcher.phase("control run", run_dir.control)
    limits = limits_for(request.scenario, None)
    plan = Plan(request.seed)
    return await run_once(
        Setup(
            request.scenario,
            plan,
            run_dir.control,
            True,
            limits,
            watcher.event,
            backend=backend,
            keep_data=request.keep,
        )
    )


def _draw(request: Request, control: Sequence[AnyEvent]) -> Plan:
    if request.plan is not None:
        return request.plan
    drawn = draw(
        request.seed,
        control,
        request.scenario.target,
        request.kills,
        request.duplicates,
        each=request.each or request.scenario.restart == "none",
    )
    return msgspec.structs.replace(drawn, steps=(*drawn.steps, *request.recurring))


def _saved(run_dir: RunDir, report: Report) -> Report:
    drawing.save(run_dir, report)
    return report


@contextlib.contextmanager
def _leaving_nothing(run_dir: RunDir, keep: bool) -> Iterator[None]:
    """Whatever happens inside, no process of the run is left afterwards, nor the data of the control run."""
    try:
        with held(run_dir.path):
            yield
    finally:
        for directory in (run_dir.control.path, run_dir.path):
            kill_marked(str(directory.resolve()))
        if not keep:
            shutil.rmtree(run_dir.control.path / "data", ignore_errors=True)


def _check(request: Request) -> None:
    request.scenario.expected()
    if request.plan is not None:
        check_plan(request.plan, request.scenario, TABLE)
    elif request.scenario.restart == "none" and request.kills > len(request.scenario.target):
        targets = ", ".join(request.scenario.target)
        raise UsageError(f"--kills {request.kills}: with `restart: none` each of {targets} can be killed once")
    elif (request.kills or request.duplicates) and not request.control:
        raise UsageError("--no-control needs --plan: random faults are placed on what the control run shows")


def load_plan(path: Path, scenario: Scenario) -> Plan:
    """The plan in a file, checked against the scenario. Raises UsageError with line and field."""
    plan, source = plans.load(path, frozenset(TABLE))
    check_plan(plan, scenario, TABLE, source)
    return plan


def replay_request(run_dir: RunDir) -> Request:
    """The request that carries out the plan of a saved run again. Raises UsageError."""
    start = _start_of(run_dir)
    if not Path(start.scenario.folder).is_dir():
        raise UsageError(f"{start.scenario.folder}, where the programs of this run were, is gone")
    runtime: RuntimeName = "compose" if start.runtime == "compose" else "local"
    return Request(start.scenario, start.plan.seed, plan=start.plan, control=False, runtime=runtime)


def _start_of(run_dir: RunDir) -> RunStarted:
    saved = run_dir if run_dir.journal.is_file() else run_dir.control
    events = journal.read(saved.journal)
    if not events or not isinstance(events[0], RunStarted):
        raise UsageError(f"{saved.journal} does not begin with a run")
    return events[0]
