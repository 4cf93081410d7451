"""Experiments a minute: `chaoskit explore stateful` beside `chaoskit run --plan`, one by one, in one run.

python benchmarks/explore_speed.py [--jobs 2] [--one-by-one 15]
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaoskit import bundled
from chaoskit.engine import explore
from chaoskit.engine.tally import Record, Tally
from chaoskit.model import plan as plans
from chaoskit.model.plan import Plan
from chaoskit.planning.experiments import at_place, survey


class Clock(explore.Watcher):
    """Times the experiments alone: the control run before them is paid once, however many there are."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.made = 0

    def control(self, events: object, found: int) -> None:
        self.began = self.ended = time.monotonic()

    def done(self, record: Record, tally: Tally, found: int) -> None:
        self.made += 1
        self.ended = time.monotonic()


def exploring(jobs: int) -> tuple[float, float, list[Plan]]:
    """Experiments, the seconds they took, and some of their plans."""
    found = bundled.find("stateful")
    scenario = found.with_parameters(found.explore)
    clock = Clock()
    report = explore.explore(explore.Wish(scenario, jobs=jobs), clock)
    if report.result != "pass":
        raise SystemExit(f"the exploration is not green: {report.run_dir}")
    journal = explore.assess.events_of(explore.rundir.existing(Path(report.run_dir, "control")))
    places = survey(journal, scenario.target)
    return clock.made, clock.ended - clock.began, [e.plan for p in places for e in at_place(p, ("kill",))]


def one_by_one(chosen: list[Plan]) -> float:
    """Seconds for these plans as commands, each with its interpreter and its programs' interpreters."""
    began = time.monotonic()
    for plan in chosen:
        Path("plan.yaml").write_text(plans.dump(plan))
        settings = ["--set", "NUM_CHUNKS=2", "--set", "EXPECTED_CHUNKS=2"]
        command = [
            sys.executable,
            "-m",
            "chaoskit",
            "run",
            "stateful",
            "--plan",
            "plan.yaml",
            "--no-control",
            *settings,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one-by-one", type=int, default=15, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made, seconds, all_plans = exploring(arguments.jobs)
        step = max(1, len(all_plans) // arguments.one_by_one)
        chosen = list(itertools.islice(all_plans, 0, None, step))
        alone = one_by_one(chosen) / len(chosen)
        os.chdir("/")
    print(f"explore, {arguments.jobs} jobs   {made} experiments in {seconds:.1f} s: {60 * made / seconds:.0f} a minute")
    print(f"run, one by one   {len(chosen)} runs, {alone:.2f} s each: {60 / alone:.0f} a minute")
    print(f"ratio             {alone * made / seconds:.1f}")


if __name__ == "__main__":
    main()
