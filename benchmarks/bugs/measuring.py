"""Measures one planted worker: what `explore` needs for its first failure, and how many random kills find anything.

Both make their runs in the same laboratories, so a run costs the same. A random kill falls at a moment drawn evenly
from the time between the pipeline's readiness and its last message, which is the busiest that a pipeline can be and
so the best for random kills. It prints nothing.
"""

import asyncio
import dataclasses
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from staging import Staged

from chaoskit import journal
from chaoskit.engine.conduct import Limits
from chaoskit.engine.explore import Watcher, Wish, explore
from chaoskit.engine.lab import Task
from chaoskit.engine.laboratories import Laboratories
from chaoskit.engine.rundir import RunDir
from chaoskit.engine.tally import Record, Tally
from chaoskit.model.events import AnyEvent, Message, Ready
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtTime

# A handful of random kills would say little of their chances, and hundreds no more than this.
FEWEST_KILLS, MOST_KILLS = 30, 150
_LIMITS = Limits(timeout_s=10.0, quiet_s=1.0, grace_s=0.0)


@dataclass(frozen=True)
class Explored:
    """`found` says how: "control run", "experiment" or "" for not at all. `known` are the experiments known at the end.

    `experiments` and `seconds` are those up to and with the first failure, or all of them. `rate` is how often the
    failing plan failed, of how often it was run.
    """

    found: str
    experiments: int
    known: int
    seconds: float
    plan: str = ""
    why: str = ""
    rate: str = ""
    code: int = 0


@dataclass(frozen=True)
class Killed:
    """Random kills: in `found` of `runs` the pipeline failed."""

    found: int
    runs: int
    seconds: float


class _First(Watcher):
    """Remembers the first failure."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.record: Record | None = None
        self.experiments = 0
        self.seconds = 0.0

    def done(self, record: Record, tally: Tally, found: int) -> None:
        if self.record is None:
            self.experiments = len(tally.seconds)
            self.seconds = time.monotonic() - self.began
            if record.outcome.code is ExitCode.FAILURE:
                self.record = record


def explored(staged: Staged, jobs: int, only: str | None = None) -> Explored:
    """Explore until the first failure. The current directory gets the run's directory."""
    bug, first = staged.bug, _First()
    wish = Wish(staged.scenario, bug.faults, bug.depth, bug.duplicates, jobs, max_failures=1, only=only or bug.only)
    report = explore(wish, first)
    known = report.points.found if report.points else 0
    if first.record is not None:
        why = "; ".join(f"{v.id} {v.outcome}" for v in first.record.outcome.verdicts if v.outcome != "SUCCESS")
        why = why or "; ".join(first.record.outcome.findings)
        rate = f"{first.record.failed} of {first.record.made}"
        made = dataclasses.replace(_made(first, known), plan=first.record.id, why=why, rate=rate)
        return dataclasses.replace(made, found="experiment", code=report.exit_code)
    if report.control is None or report.control.result != "pass":
        why = "; ".join(finding.text for finding in report.findings)
        seconds = time.monotonic() - first.began
        return Explored("control run", 0, known, seconds, "no fault at all", why, code=report.exit_code)
    return dataclasses.replace(_made(first, known), code=report.exit_code)


def _made(first: _First, known: int) -> Explored:
    return Explored("", first.experiments, known, round(first.seconds, 1))


def kills_for(made: Explored) -> int:
    """How many random kills to compare with: as many as experiments, but not too few and not too many."""
    return min(max(FEWEST_KILLS, made.experiments), MOST_KILLS)


def randomly_killed(staged: Staged, runs: int, seed: int, jobs: int, directory: Path) -> Killed:
    """Kill worker-2 at a random time, in so many runs."""
    source = random.Random(f"{seed}/{staged.bug.name}")
    return asyncio.run(_randomly_killed(staged, runs, source, jobs, directory))


async def _randomly_killed(staged: Staged, runs: int, source: random.Random, jobs: int, directory: Path) -> Killed:
    labs = Laboratories(jobs, directory)
    began = time.monotonic()
    try:
        span_s = await _busy_s(labs, staged, directory / "control")
        waiting = [_kill_at(round(source.uniform(0, span_s), 4)) for _ in range(runs)]
        found = 0

        async def one() -> bool:
            nonlocal found
            if not waiting:
                return False
            task = Task(staged.scenario, waiting.pop(), str(directory / str(len(waiting))), _LIMITS)
            found += (await labs.make(task)).code is ExitCode.FAILURE
            return True

        await labs.each(one)
    finally:
        await labs.close()
    return Killed(found, runs, round(time.monotonic() - began, 1))


def _kill_at(time_s: float) -> Plan:
    return Plan(0, (Step("kill", "worker-2", AtTime(time_s)),))


async def _busy_s(labs: Laboratories, staged: Staged, directory: Path) -> float:
    """Seconds from the pipeline's readiness to its last message, in a run without a fault."""
    for _ in range(2 * labs.jobs):
        # The last of these meets an interpreter that is prepared, as the runs that are measured do.
        await labs.make(Task(staged.scenario, Plan(0), str(directory), _LIMITS, keep=True))
    return busy_s(journal.read(RunDir(directory).journal))


def busy_s(events: Sequence[AnyEvent]) -> float:
    """Seconds from readiness to the last message in a journal; 0 when it was never ready."""
    ready = next((event.t_s for event in events if isinstance(event, Ready)), None)
    last = max((event.t_s for event in events if isinstance(event, Message)), default=0.0)
    return 0.0 if ready is None else max(0.0, last - ready)
