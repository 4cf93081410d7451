"""What came of an exploration's experiments: counts by operation and path, failures, and the report of it all."""

import os
from collections import defaultdict

import msgspec

from chaoskit.engine.lab import Outcome
from chaoskit.model.exit_codes import ExitCode, result_word, worst
from chaoskit.model.run import Coverage, Failed, Points, Report, Spot
from chaoskit.model.verdict import Finding
from chaoskit.planning.experiments import Experiment
from chaoskit.planning.frontier import Frontier

INTERRUPTED = "interrupted"
_SLOWLY = Finding(
    "explore", ExitCode.OK, "each program started as a new process: a copy of a prepared interpreter behaves otherwise"
)


class Record(msgspec.Struct, frozen=True):
    """One finished experiment. `directory` has the run of one that was not green, `failed` of `made` times."""

    id: str
    outcome: Outcome
    directory: str = ""
    failed: int = 0
    made: int = 1


class Tally:
    """Counts finished experiments."""

    def __init__(self) -> None:
        self.run = self.survived = 0
        self.failures: list[tuple[Experiment, Record]] = []
        self.not_reached: list[tuple[Experiment, Record]] = []
        self.broken: list[tuple[Experiment, Record]] = []
        self.seconds: list[float] = []
        self.nothing = "nothing was explored: no point matches"
        self._spots: dict[tuple[str, str], dict[str, Spot]] = defaultdict(dict)

    def add(self, experiment: Experiment, record: Record) -> None:
        """Count one. Only a run in which every planned fault fired has visited its point."""
        outcome = record.outcome
        place = experiment.op, experiment.path
        self.seconds.append(outcome.seconds)
        if outcome.code in (ExitCode.OK, ExitCode.FAILURE):
            self.run += 1
            self._count(self._spots[place], experiment.place, outcome.code is ExitCode.OK)
        if outcome.code is ExitCode.OK:
            self.survived += 1
        elif outcome.code is ExitCode.FAILURE:
            self.failures.append((experiment, record))
        elif outcome.code is ExitCode.INCONCLUSIVE:
            self.not_reached.append((experiment, record))
        else:
            self.broken.append((experiment, record))

    @staticmethod
    def _count(spots: dict[str, Spot], name: str, survived: bool) -> None:
        before = spots.get(name, Spot(name, 0, 0))
        spots[name] = Spot(name, before.run + 1, before.survived + survived)

    def report(
        self, control: Report, frontier: Frontier, stopped: str, duration_s: float, prepared: bool = True
    ) -> Report:
        """The report of the exploration; `control` is that of its control run, `stopped` why it ended early."""
        findings = (*control.findings, *self._findings(stopped), *([] if prepared else [_SLOWLY]))
        code = worst([ExitCode(control.exit_code), *(f.code for f in findings)])
        if self.failures:
            code = worst([code, ExitCode.FAILURE])
        return msgspec.structs.replace(
            control,
            result=result_word(code),
            exit_code=int(code),
            duration_s=round(duration_s, 3),
            findings=findings,
            restarts={},
            replay=self._first_replay(control.run_dir),
            points=Points(frontier.found, self.run, self.survived, _crash_points(control), frontier.merged),
            coverage=self._coverage(),
            failures=tuple(_failed(e, r, control.run_dir) for e, r in self.failures),
        )

    def _first_replay(self, run_dir: str) -> str:
        if self.failures:
            return f"chaoskit replay {self.failures[0][1].directory}"
        return f"chaoskit replay {run_dir}/control"

    def _findings(self, stopped: str) -> list[Finding]:
        found = [_of_one("not-reached", ExitCode.INCONCLUSIVE, e, r) for e, r in self.not_reached]
        found += [_of_one("environment", ExitCode.ENVIRONMENT, e, r) for e, r in self.broken]
        if not self.seconds:
            found.append(Finding("explore", ExitCode.INCONCLUSIVE, self.nothing))
        if stopped == INTERRUPTED:
            found.append(Finding("explore", ExitCode.INTERRUPTED, "interrupted; --resume goes on from here"))
        elif stopped:
            found.append(Finding("explore", ExitCode.INCONCLUSIVE, f"not every point was visited: {stopped}"))
        return found

    def _coverage(self) -> tuple[Coverage, ...]:
        return tuple(_coverage(op, path, list(spots.values())) for (op, path), spots in sorted(self._spots.items()))


def _crash_points(control: Report) -> int:
    return (control.control.crash_points or 0) if control.control else 0


def _of_one(check: str, code: ExitCode, experiment: Experiment, record: Record) -> Finding:
    why = "; ".join(record.outcome.findings) or "no reason given"
    return Finding(check, code, f"{experiment.point}: {why} ({record.directory})")


def _coverage(op: str, path: str, spots: list[Spot]) -> Coverage:
    run, survived = sum(s.run for s in spots), sum(s.survived for s in spots)
    return Coverage(op, path, len(spots), run, survived, tuple(spots))


def _failed(experiment: Experiment, record: Record, run_dir: str) -> Failed:
    return Failed(
        [str(s) for s in experiment.plan.steps],
        tuple(v for v in record.outcome.verdicts if v.outcome != "SUCCESS"),
        f"chaoskit replay {record.directory}",
        f"{record.failed} of {record.made}",
        record.outcome.findings,
        experiment.place,
        os.path.relpath(record.directory, run_dir),
    )
