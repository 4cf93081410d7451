"""Experiments a minute: Compose with a warm broker, beside `docker compose up` and `down` for each; beside local.

python benchmarks/compose.py [--jobs N] [--cold 4] [--only 'write:metadata/*']

All of them make the same thing: the stateful pipeline with two chunks a client, its worker killed once, judged by its
verifier. What is paid once (images, the first start of a broker, the control run) is not in the figures of either.
"""

import argparse
import os
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

from chaoskit import bundled
from chaoskit.engine import explore
from chaoskit.engine.backends import RuntimeName
from chaoskit.engine.tally import Record, Tally
from chaoskit.engine.wiring import default_jobs

COMPOSE_FILE = Path(__file__).parents[1] / "compose" / "stateful.yaml"
PARAMETERS = {"NUM_CHUNKS": "2", "EXPECTED_CHUNKS": "2"}
_VERDICTS = ("SUCCESS [CLI1]", "SUCCESS [CLI2]")
_VERDICTS_S = 120.0
_LOOK_AGAIN_S = 0.1


class Clock(explore.Watcher):
    """Times the experiments from the first one that is over to the last: then every laboratory is warm."""

    def __init__(self, jobs: int) -> None:
        self._moments: list[float] = []
        self._jobs = jobs

    def done(self, record: Record, tally: Tally, found: int) -> None:
        self._moments.append(time.monotonic())

    @property
    def a_minute(self) -> float:
        warm = self._moments[self._jobs :]
        return 60 * (len(warm) - 1) / (warm[-1] - warm[0])


def exploring(runtime: RuntimeName, jobs: int, only: str) -> tuple[int, float]:
    """Experiments that were made, and how many a minute."""
    found = bundled.find("stateful")
    scenario = found.with_parameters(found.explore)
    clock = Clock(jobs)
    wish = explore.Wish(scenario, faults=("kill",), jobs=jobs, only=only, runtime=runtime)
    report = explore.explore(wish, clock)
    if report.result != "pass" or report.points is None:
        raise SystemExit(f"the exploration is not green: {report.run_dir}")
    return report.points.run, clock.a_minute


class Cold:
    """What one does without chaoskit: `up`, kill, start again, wait for the verdicts, `down`, each time."""

    def __init__(self) -> None:
        self._image = f"chaoskit-benchmark-{uuid.uuid4().hex[:8]}"
        quiet = {"COMPOSE_ANSI": "never", "BUILDKIT_PROGRESS": "plain", "CHAOSKIT_IMAGE": self._image}
        self._environment = {**os.environ, **quiet, **PARAMETERS}

    def _compose(self, project: str, *words: str) -> str:
        command = ["docker", "compose", "--project-name", project, "--file", str(COMPOSE_FILE), *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def build(self) -> None:
        """Pay for the image."""
        self._compose(self._image, "build", "--quiet")

    def experiment(self) -> float:
        """Seconds of one."""
        project = f"{self._image}-{uuid.uuid4().hex[:6]}"
        began = time.monotonic()
        try:
            self._compose(project, "up", "--detach", "--no-build")
            self._compose(project, "kill", "worker-2")
            self._compose(project, "start", "worker-2")
            self._until_judged(project)
        finally:
            self._compose(project, "down", "--volumes", "--timeout", "0")
        return time.monotonic() - began

    def _until_judged(self, project: str) -> None:
        never, until = threading.Event(), time.monotonic() + _VERDICTS_S
        while not all(verdict in self._compose(project, "logs", "worker-3") for verdict in _VERDICTS):
            if time.monotonic() > until:
                raise SystemExit("the verdicts did not come")
            never.wait(_LOOK_AGAIN_S)

    def close(self) -> None:
        """Remove the image."""
        subprocess.run(["docker", "image", "rm", "--force", self._image], capture_output=True)


def cold(times: int) -> float:
    """Experiments a minute, one after the other."""
    made = Cold()
    try:
        made.build()
        made.experiment()
        return 60 * times / sum(made.experiment() for _ in range(times))
    finally:
        made.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=default_jobs("compose"), help="experiments at a time on Compose")
    parser.add_argument("--cold", type=int, default=4, help="experiments with up and down")
    parser.add_argument("--only", default="*metadata/*", help="the points that are explored")
    options = parser.parse_args()
    cores = default_jobs("local")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        count, local = exploring("local", cores, options.only)
        _, one = exploring("compose", 1, options.only)
        _, warm = exploring("compose", options.jobs, options.only)
        each = cold(options.cold)
        os.chdir("/")
    print(f"experiments a minute ({count} explored)")
    print(f"  local, {cores} at a time                {local:7.1f}")
    print(f"  Compose, warm broker, {options.jobs} at a time {warm:7.1f}")
    print(f"  Compose, warm broker, 1 at a time {one:7.1f}")
    print(f"  docker compose up, kill, down     {each:7.1f}")
    print(f"ratios: warm to up and down {warm / each:.1f}, one at a time {one / each:.1f}")
    print(f"        local to Compose {local / warm:.1f}")


if __name__ == "__main__":
    main()
