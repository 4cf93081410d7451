"""`chaoskit explore`: visit every crash point of a scenario, once for each position and fault.

A control run shows the points; laboratories make the experiments, several at a time; what they find on the way is
visited too. A failure is made again before it is believed. Every finished experiment is written down at once, so that
an exploration that was cut off can go on where it was.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chaoskit.checks import judge
from chaoskit.engine import assess, drawing, rundir, wiring
from chaoskit.engine.backends import RuntimeName, opened
from chaoskit.engine.conduct import Limits
from chaoskit.engine.holding import held
from chaoskit.engine.interrupts import interruptible
from chaoskit.engine.lab import Outcome, Task
from chaoskit.engine.labs import Labs
from chaoskit.engine.once import Setup
from chaoskit.engine.rundir import RunDir
from chaoskit.engine.tally import INTERRUPTED, Record, Tally
from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.model.events import AnyEvent
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan
from chaoskit.model.run import Report
from chaoskit.model.scenario import Scenario
from chaoskit.planning.experiments import DEFAULT_FAULTS, Experiment, doubled, no_crash_point, survey
from chaoskit.planning.frontier import Frontier
from chaoskit.runtime.local import kill_marked

_RECORDS = "experiments.jsonl"
_TIMES_AGAIN = 2
_LINGER_S = 0.01


@dataclass(frozen=True)
class Wish:
    """What the user asked for. `scenario` already has the parameters that are to be used."""

    scenario: Scenario
    faults: tuple[str, ...] = DEFAULT_FAULTS
    depth: int = 1
    duplicates: bool = False
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    max_failures: int | None = None
    budget_s: float | None = None
    only: str | None = None
    resume: RunDir | None = None
    runtime: RuntimeName = "local"

    def identity(self) -> str:
        """What has to be the same for an exploration to be resumed."""
        return repr((self.scenario, self.faults, self.depth, self.duplicates, self.only))


class Watcher:
    """Hears how an exploration comes along."""

    def progress(self, text: str, passing: bool) -> None:
        """Something that takes time before the first run; a `passing` line is worth a look while it is the last."""

    def control(self, events: Sequence[AnyEvent], found: int) -> None:
        """The control run is over; so many experiments are known by now."""

    def done(self, record: Record, tally: Tally, found: int) -> None:
        """An experiment is over."""


class Explorer:
    """One exploration in `run_dir`."""

    def __init__(self, wish: Wish, run_dir: RunDir, watcher: Watcher, labs: Labs) -> None:
        self.wish, self.run_dir, self.watcher = wish, run_dir, watcher
        self.frontier = Frontier(wish.faults, wish.depth, wish.only)
        self.tally = Tally()
        self.control: list[AnyEvent] = []
        self.stopped = ""
        self._labs = labs
        self._in_flight = 0
        self._news = asyncio.Condition()
        self._began = time.monotonic()
        self._known = _read_records(run_dir)
        self._records = (run_dir.path / _RECORDS).open("ab", buffering=0)
        self._number = 0
        self.prepared = True

    async def run(self) -> None:
        """Control run, then every experiment. What came of it is in `tally`, `stopped` says why it ended early."""
        try:
            await self._plan()
            if judge(self.control).code is ExitCode.OK:
                task = asyncio.current_task()
                assert task is not None
                with interruptible(task.cancel):
                    await self._labs.each(self._one)
        except asyncio.CancelledError:
            self.stopped = INTERRUPTED
        finally:
            self._records.close()

    async def plan_only(self) -> None:
        """Only what is known before the first experiment: the frontier."""
        try:
            await self._plan()
        finally:
            self._records.close()

    async def _plan(self) -> None:
        scenario = self.wish.scenario
        if not self.run_dir.control.journal.is_file():
            await self._labs.control(self._setup(Plan(0), self.run_dir.control, control=True))
        self.control = assess.events_of(self.run_dir.control)
        if judge(self.control).code is not ExitCode.OK:
            return
        places = survey(self.control, scenario.target)
        if not places:
            self.tally.nothing = no_crash_point(scenario.target)
        self.prepared = self._labs.prepares and await self._prepared_is_the_same(len(places))
        self.frontier.add_control(places, ())
        for late in (False, True) if self.wish.duplicates else ():
            await self._plan_doubled(late)
        self.watcher.control(self.control, self.frontier.found)

    async def _prepared_is_the_same(self, places: int) -> bool:
        """Whether a run with prepared interpreters is green and makes as many calls as the control run.

        A program that cannot be forked like that (it minds its parent, or what is imported) starts as a new process.
        """
        idle = Experiment("", Plan(0), "", "", "", "", "")
        result = await self._attempt(idle, self.run_dir.path / "control-prepared", prepared=True)
        return result.code is ExitCode.OK and result.first == places

    async def _plan_doubled(self, late: bool) -> None:
        """With every message doubled there is another control run, whose places are explored with them doubled."""
        steps = doubled(self.control, self.wish.scenario.target, late)
        directory = RunDir(self.run_dir.path / ("control-late" if late else "control-doubled"))
        if not directory.journal.is_file():
            await self._labs.control(self._setup(Plan(0, steps), directory))
        events = assess.events_of(directory)
        name = "every message doubled" + (", late" if late else "")
        self.frontier.add_plan(Experiment(name, Plan(0, steps), "duplicate", "message", "*", name, name))
        if judge(events).code is ExitCode.OK:
            self.frontier.add_control(survey(events, self.wish.scenario.target), steps)

    def _setup(self, plan: Plan, directory: RunDir, control: bool = False) -> Setup:
        limits = Limits(timeout_s=self.wish.scenario.timeout_s)
        return Setup(self.wish.scenario, plan, directory, control, limits, surveyed=self._surveyed)

    @property
    def _surveyed(self) -> bool:
        return "power-loss" in self.wish.faults

    def _limits(self) -> Limits:
        """The limits of an experiment: generous beside the control run, so that only what hangs meets them."""
        silence_s = assess.longest_silence_s(self.control)
        length_s = self.control[-1].t_s
        timeout_s = min(self.wish.scenario.timeout_s, max(10.0, 20 * length_s))
        return Limits(timeout_s, quiet_s=min(timeout_s, max(1.0, 6 * silence_s)), grace_s=0.0, linger_s=_LINGER_S)

    # --- experiments ---

    async def _one(self) -> bool:
        """Make the next experiment; False when none is left."""
        experiment = await self._next()
        if experiment is None:
            return False
        try:
            await self._make(experiment)
        finally:
            self._in_flight -= 1
            async with self._news:
                self._news.notify_all()
        return True

    async def _next(self) -> Experiment | None:
        async with self._news:
            while not self._over():
                experiment = self.frontier.take()
                if experiment is not None:
                    self._in_flight += 1
                    return experiment
                if not self._in_flight:
                    return None
                await self._news.wait()
        return None

    def _over(self) -> bool:
        wish = self.wish
        if wish.max_failures is not None and len(self.tally.failures) >= wish.max_failures:
            count = len(self.tally.failures)
            self.stopped = f"stopped after {count} failure{'' if count == 1 else 's'} (--max-failures)"
        elif wish.budget_s is not None and time.monotonic() - self._began > wish.budget_s:
            self.stopped = f"the time budget of {wish.budget_s:g} s is used up (--budget)"
        return bool(self.stopped)

    async def _make(self, experiment: Experiment) -> None:
        record = self._known.get(experiment.id)
        if record is None:
            record = await self._measure(experiment)
            self._records.write(msgspec.json.encode(record) + b"\n")
        self.tally.add(experiment, record)
        result = record.outcome
        if result.fired and result.code in (ExitCode.OK, ExitCode.FAILURE):
            self.frontier.add_result(experiment, result.later, result.recovery, result.state)
        self.watcher.done(record, self.tally, self.frontier.found)

    async def _measure(self, experiment: Experiment) -> Record:
        """Make an experiment; when it is not green, make it again to know how often."""
        directory = self.run_dir.path / "experiments" / str(self._new_number())
        result = await self._attempt(experiment, directory, self.prepared)
        if result.code is ExitCode.OK:
            return Record(experiment.id, result)
        if result.code is not ExitCode.FAILURE:
            # Not reached, or the machine's fault: neither says anything about the program; one more try.
            again = await self._attempt(experiment, directory, self.prepared)
            return Record(experiment.id, again, "" if again.code is ExitCode.OK else str(directory))
        directories = [directory.with_name(f"{directory.name}-again-{n}") for n in range(1, _TIMES_AGAIN + 1)]
        again_results = [await self._attempt(experiment, d, prepared=False) for d in directories]
        failed = [d for d, r in zip(directories, again_results, strict=True) if r.code is ExitCode.FAILURE]
        shown = failed[0] if failed else directory
        return Record(experiment.id, result, str(RunDir(shown)), 1 + len(failed), 1 + len(directories))

    async def _attempt(self, experiment: Experiment, directory: Path, prepared: bool) -> Outcome:
        try:
            task = Task(
                self.wish.scenario,
                experiment.plan,
                str(directory),
                self._limits(),
                prepared,
                surveyed=self._surveyed and self.wish.depth > experiment.depth,
            )
            return await self._labs.make(task)
        except EnvironmentProblem as e:
            return Outcome(ExitCode.ENVIRONMENT, False, (), (str(e),), 0.0)

    def _new_number(self) -> int:
        # Directories of an exploration that was cut off stay; theirs are not used again.
        self._number += 1
        while list((self.run_dir.path / "experiments").glob(f"{self._number}*")):
            self._number += 1
        return self._number


def explore(wish: Wish, watcher: Watcher) -> Report:
    """Carry out an exploration; its report is also in its run directory. Raises UsageError and EnvironmentProblem."""
    if wish.duplicates and not wish.scenario.broker:
        raise UsageError(f"--duplicates: {wish.scenario.name} has no broker (`broker: false`), so no message to double")
    run_dir = wish.resume or rundir.create(f"explore-{wish.scenario.name}", 0, datetime.now(UTC))
    _same_exploration(wish, run_dir)
    with _leaving_nothing(run_dir):
        explorer, duration_s = asyncio.run(_run(wish, run_dir, watcher))
    made = explorer.tally.report(
        assess.report(run_dir, explorer.control, explorer.control),
        explorer.frontier,
        explorer.stopped,
        duration_s,
        explorer.prepared or wish.runtime != "local",
    )
    made = drawing.with_failed_runs(run_dir, made)
    drawing.save(run_dir, made)
    return made


def estimate(wish: Wish, watcher: Watcher) -> tuple[int, float]:
    """How many experiments are known before the first one, and how many seconds they may take."""
    run_dir = rundir.create(f"explore-{wish.scenario.name}", 0, datetime.now(UTC))
    with _leaving_nothing(run_dir):
        explorer = asyncio.run(_only_plan(wish, run_dir, watcher))
    if judge(explorer.control).code is not ExitCode.OK:
        raise UsageError(f"the control run is not green: chaoskit report {run_dir.control}")
    per_experiment_s = 1.5 * explorer.control[-1].t_s
    return explorer.frontier.found, explorer.frontier.found * per_experiment_s / wish.jobs


async def _only_plan(wish: Wish, run_dir: RunDir, watcher: Watcher) -> Explorer:
    async with _laboratories(wish, run_dir, watcher) as labs:
        explorer = Explorer(wish, run_dir, watcher, labs)
        await explorer.plan_only()
    return explorer


async def _run(wish: Wish, run_dir: RunDir, watcher: Watcher) -> tuple[Explorer, float]:
    async with _laboratories(wish, run_dir, watcher) as labs:
        explorer = Explorer(wish, run_dir, watcher, labs)
        began = time.monotonic()
        await explorer.run()
        return explorer, time.monotonic() - began


@contextlib.asynccontextmanager
async def _laboratories(wish: Wish, run_dir: RunDir, watcher: Watcher) -> AsyncIterator[Labs]:
    """Laboratories that can see system calls. Raises EnvironmentProblem where they cannot."""
    labs = wiring.laboratories(wish.runtime, wish.scenario, wish.jobs, run_dir.path, watcher.progress)
    async with opened(labs):
        if reason := labs.tap_unavailable():
            raise EnvironmentProblem(f"explore needs the tap, to see system calls: {reason}")
        yield labs


def _read_records(run_dir: RunDir) -> dict[str, Record]:
    """The finished experiments of an exploration that was cut off; a torn last line is no record."""
    path = run_dir.path / _RECORDS
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    records = (msgspec.json.decode(line, type=Record) for line in lines)
    return {record.id: record for record in records}


def _same_exploration(wish: Wish, run_dir: RunDir) -> None:
    path = run_dir.path / "explore.txt"
    if not path.is_file():
        path.write_text(wish.identity())
    elif path.read_text() != wish.identity():
        raise UsageError(
            f"{run_dir} explored something else (another scenario, fault, depth...): start without --resume"
        )


@contextlib.contextmanager
def _leaving_nothing(run_dir: RunDir) -> Iterator[None]:
    try:
        with held(run_dir.path):
            yield
    finally:
        kill_marked(str(run_dir.path.resolve()))
