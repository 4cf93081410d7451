"""What the fixture `chaos` is: it runs a scenario under faults, and fails the test when it is not green.

Every run is made by the command line in a process of its own, below the test's `tmp_path`.
"""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack, cast

import msgspec
import pytest
import yaml

from chaoskit.model import run as runs
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Report
from chaoskit.pytest_plugin import child, words
from chaoskit.pytest_plugin.options import (
    NAMES,
    ExploreOptions,
    PlanLike,
    RunOptions,
    explore_arguments,
    run_arguments,
)

_SEEDS = 2**32


class ChaosError(Exception):
    """Nothing was judged: the machine cannot do it, or the test asks for something that there is not."""

    # As tests import it, and as a traceback names it.
    __module__ = "chaoskit.pytest_plugin"


@dataclass(repr=False)
class Chaos:
    """Runs scenarios for one test. `reports` has what was run so far, in order.

    `folders` are where a relative path is looked for, `directory` where run directories are made, `marked` what the
    test's marker says, `seed` and `name` what the seeds of its runs are drawn from.
    """

    folders: tuple[Path, ...]
    directory: Path
    seed: int
    name: str
    scenario: str | Path | None = None
    marked: Mapping[str, Any] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)

    def __repr__(self) -> str:
        """As short as a traceback that shows a test's arguments should have it."""
        return f"<chaos: {len(self.reports)} runs>"

    def run(self, scenario: str | Path | None = None, *, check: bool = True, **options: Unpack[RunOptions]) -> Report:
        """`chaoskit run SCENARIO`; what is not given is taken from the marker.

        Fails the test unless every verdict is SUCCESS and every planned fault fired; with `check` False it returns the
        report all the same. Raises ChaosError when nothing can be judged.
        """
        __tracebackhide__ = True
        wanted = cast(RunOptions, self._merged(RunOptions, options))
        if "plan" in wanted:
            wanted["plan"] = self._plan_file(wanted["plan"])
        else:
            wanted.setdefault("seed", self._next_seed())
        return self._judge(["run", *run_arguments(wanted), "--", self._place(scenario)], check)

    def explore(
        self, scenario: str | Path | None = None, *, check: bool = True, **options: Unpack[ExploreOptions]
    ) -> Report:
        """`chaoskit explore SCENARIO`: every crash point, a run for each; as `run` otherwise."""
        __tracebackhide__ = True
        wanted = cast(ExploreOptions, self._merged(ExploreOptions, options))
        wanted.setdefault("jobs", _fair_jobs())
        return self._judge(["explore", *explore_arguments(wanted), "--", self._place(scenario)], check)

    # --- what was asked for ---

    def _merged(self, kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := sorted((set(self.marked) | set(given)) - NAMES):
            raise ChaosError(f"chaos has no option {unknown[0]!r} (it has: {', '.join(sorted(NAMES))})")
        marked = {name: value for name, value in self.marked.items() if name in kind.__annotations__}
        return {**marked, **given}

    def _place(self, given: str | Path | None) -> str:
        """A scenario as the command line takes it: an absolute path where there is such a file, else the name."""
        scenario = given if given is not None else self.scenario
        if scenario is None:
            raise ChaosError("which scenario? Name it in the marker or in the call: chaos.run('scenario.yaml')")
        found = self._find(scenario)
        return str(found) if found else str(scenario)

    def _find(self, path: str | Path) -> Path | None:
        return next((folder / path for folder in self.folders if (folder / path).exists()), None)

    def _plan_file(self, plan: PlanLike) -> Path:
        if isinstance(plan, str | Path):
            return self._find(plan) or self.folders[0] / plan
        steps = plan if isinstance(plan, Mapping) else {"steps": list(plan)}
        file = self.directory / f"plan-{len(self.reports) + 1}.yaml"
        self.directory.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(dict(steps), sort_keys=False), encoding="utf-8")
        return file

    def _next_seed(self) -> int:
        """Another one for each run of each test, the same ones for the same `--chaos-seed`."""
        return random.Random(f"{self.seed} {self.name} {len(self.reports)}").randrange(_SEEDS)

    # --- what came of it ---

    def _judge(self, arguments: list[str], check: bool) -> Report:
        __tracebackhide__ = True
        self.directory.mkdir(parents=True, exist_ok=True)
        finished = child.run([arguments[0], "--json", *arguments[1:]], self.directory)
        report = self._report_of(finished)
        self.reports.append(report)
        if report.exit_code == ExitCode.ENVIRONMENT:
            raise ChaosError(words.message(report))
        if check and report.exit_code:
            pytest.fail(words.message(report))
        return report

    def _report_of(self, finished: child.Finished) -> Report:
        __tracebackhide__ = True
        if finished.code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        try:
            return words.at_home(runs.from_json(finished.out), self.directory)
        except msgspec.DecodeError:
            said = finished.said.strip()
            last = said.splitlines()[-1] if said else f"chaoskit ended with exit code {finished.code}"
            known = finished.code in (ExitCode.USAGE, ExitCode.ENVIRONMENT)
            raise ChaosError(last.removeprefix("chaoskit: ") if known else said or last) from None


def _fair_jobs() -> int:
    """Experiments at a time: this process's share of the cores, where tests run in several processes."""
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    return max(1, (os.cpu_count() or 1) // (int(workers) if workers.isdecimal() else 1))
