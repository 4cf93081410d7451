"""One run, from an empty directory to a closed journal: assemble the pipeline, carry out the plan, clean up.

It cleans up however it ends. An exception in a callback of the loop ends the run and is raised here: a bug of ours
must not look like a quiet pipeline.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import chaoskit
from chaoskit import journal
from chaoskit.checks import judge
from chaoskit.engine.backends import Backend, Stage
from chaoskit.engine.conduct import Conductor, Limits, Progress
from chaoskit.engine.executor import Executor
from chaoskit.engine.interrupts import interruptible
from chaoskit.engine.locally import LocalBackend
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.rundir import RunDir
from chaoskit.engine.starting import Starter, start_new
from chaoskit.faults import TABLE
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import AnyEvent, EndReason, RunEnded, RunStarted
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan
from chaoskit.model.scenario import Scenario

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Observer = Callable[[AnyEvent], None]


@dataclass(frozen=True)
class Setup:
    """What one run needs. `observer` hears each event as it happens, `starter` begins the lives of local programs.

    `surveyed` notes at each call which states a power loss could leave; without `keep_data` the data directories need
    not come to the run's directory when it is green.
    """

    scenario: Scenario
    plan: Plan
    run_dir: RunDir
    control: bool = False
    limits: Limits = field(default_factory=Limits)
    observer: Observer = lambda event: None
    starter: Starter = start_new
    surveyed: bool = False
    backend: Backend = field(default_factory=LocalBackend)
    keep_data: bool = True


class Recorder:
    """Takes every event to the journal, to memory, and to those who act on it."""

    def __init__(self, setup: Setup) -> None:
        self.events: list[AnyEvent] = []
        self.listeners: list[Observer] = []
        setup.run_dir.path.mkdir(parents=True, exist_ok=True)
        self._journal = journal.Writer(setup.run_dir.journal)

    def __call__(self, event: AnyEvent) -> None:
        self._journal.append(event)
        self.events.append(event)
        for listener in self.listeners:
            listener(event)

    def close(self) -> None:
        self._journal.close()


async def run_once(setup: Setup) -> list[AnyEvent]:
    """Run it and return its events, which are also in the journal of `setup.run_dir`.

    Problems of the environment end up in the events; anything raised is a bug of ours.
    """
    record = Recorder(setup)
    record.listeners.append(setup.observer)
    pipeline = Pipeline(setup.scenario, record)
    executor = Executor(pipeline, setup.plan, TABLE)
    progress = Progress(setup.scenario)
    record.listeners += [progress.on_event, executor.on_event]
    conductor = Conductor(pipeline, executor, progress, setup.limits)
    stage = Stage(
        setup.scenario, setup.run_dir.path, pipeline, executor, surveyed=setup.surveyed, starter=setup.starter
    )
    try:
        record(_started(setup))
        with interruptible(conductor.interrupted.set):
            ended = await _conduct(setup, stage, conductor)
            record(await _settle(setup, stage, record.events, ended))
    finally:
        record.close()
    return record.events


def _started(setup: Setup) -> RunStarted:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    tap = setup.backend.tap_unavailable() or ""
    version = chaoskit.__version__
    return RunStarted(0.0, version, setup.scenario, setup.plan, setup.backend.name, now, setup.control, tap)


async def _conduct(setup: Setup, stage: Stage, conductor: Conductor) -> RunEnded:
    pipeline, executor = stage.pipeline, stage.executor
    try:
        await setup.backend.assemble(stage)
    except EnvironmentProblem as e:
        return RunEnded(pipeline.now_s(), "error", str(e))
    try:
        ended = await conductor.run()
    finally:
        executor.stop()
        await pipeline.close(setup.limits.grace_s)
    # The programs' last lines came while they were stopped, as may a Ctrl-C; the end is the last event all the same.
    reason: EndReason = "interrupted" if conductor.interrupted.is_set() else ended.reason
    return RunEnded(pipeline.now_s(), reason, ended.waited_for, ended.waited_s)


async def _settle(setup: Setup, stage: Stage, events: Sequence[AnyEvent], ended: RunEnded) -> RunEnded:
    """Take the data home, always or when the run is not green; how the run ended, an error when that fails."""
    keep = setup.keep_data or judge([*events, ended]).code is not ExitCode.OK
    try:
        await setup.backend.settle(stage, keep)
    except EnvironmentProblem as e:
        return RunEnded(stage.pipeline.now_s(), "error", str(e))
    return ended
