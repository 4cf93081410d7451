"""The directory of a run: `.chaoskit/runs/<utc>-<scenario>-<seed>/`. `.chaoskit/latest` points at the newest."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chaoskit import journal
from chaoskit.model.errors import EnvironmentProblem, UsageError

HOME = ".chaoskit"
RECORDS = "experiments.jsonl"
"""What an exploration has found so far, one experiment a line."""
# The directories that a dry run has made so far; None where this is no dry run.
_made_dry: ContextVar[list[Path] | None] = ContextVar("made_dry", default=None)


@dataclass(frozen=True)
class RunDir:
    """Where the parts of one run are. A control run is a RunDir of its own, in `control`."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / journal.FILE_NAME

    @property
    def plan(self) -> Path:
        return self.path / "plan.yaml"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    @property
    def is_exploration(self) -> bool:
        """Whether this is the directory of many experiments, not of one run."""
        return (self.path / RECORDS).is_file()

    @property
    def control(self) -> "RunDir":
        return RunDir(self.path / "control")

    def __str__(self) -> str:
        """As short as it can be pasted: relative to the current directory where it is below it."""
        try:
            return str(self.path.relative_to(Path.cwd()))
        except ValueError:
            return str(self.path)


def home() -> Path:
    """`.chaoskit` in the current directory."""
    return Path.cwd() / HOME


def create(scenario: str, seed: int, now: datetime) -> RunDir:
    """A new, empty run directory; `latest` points at it. Raises EnvironmentProblem when it cannot be made.

    In a dry run it has a name that `latest_of` does not find, and `latest` stays where it is.
    """
    runs = home() / "runs"
    stem = f"{now:%Y%m%dT%H%M%SZ}-{scenario}-{seed}"
    dry = _made_dry.get()
    try:
        runs.mkdir(parents=True, exist_ok=True)
        path = _make_new(runs, stem if dry is None else f"{stem}-dry-run")
        if dry is None:
            _point_latest_at(path)
        else:
            dry.append(path)
    except OSError as e:
        raise EnvironmentProblem(f"{runs}: no run directory can be made here: {e.strerror}") from None
    return RunDir(path)


@contextlib.contextmanager
def dry_run() -> Iterator[None]:
    """Run directories that are made inside are nobody's latest run, and are gone at the end unless it fails."""
    made: list[Path] = []
    token = _made_dry.set(made)
    try:
        yield
    except Exception:
        # What went wrong is in them, and the error may name them.
        made.clear()
        raise
    finally:
        _made_dry.reset(token)
        for path in made:
            shutil.rmtree(path, ignore_errors=True)


def _make_new(runs: Path, stem: str) -> Path:
    for n in range(1, 10_000):
        path = runs / (stem if n == 1 else f"{stem}-{n}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, f"too many runs named {stem}")


def _point_latest_at(path: Path) -> None:
    # A link is replaced by renaming a new one over it, so that two runs at once never leave none.
    fresh = path.parent.parent / f"latest.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("runs", path.name))
    fresh.rename(path.parent.parent / "latest")


def latest() -> RunDir:
    """The newest run of this directory. Raises UsageError when there is none."""
    link = home() / "latest"
    if not link.is_dir():
        raise UsageError(f"there is no run in {home()}: start one with `chaoskit run stateful`")
    return RunDir(link.resolve())


def latest_of(scenario: str) -> RunDir:
    """The newest run of one scenario in this directory. Raises UsageError when there is none."""
    # The whole name: that of another scenario may go on where this one ends, and a dry run says at its end what it is.
    name = re.compile(rf"\d{{8}}T\d{{6}}Z-{re.escape(scenario)}-\d+(-\d+)?")
    runs = sorted(path for path in (home() / "runs").glob("*") if name.fullmatch(path.name))
    if not runs:
        raise UsageError(f"there is no run of {scenario} in {home()} to go on with")
    return RunDir(runs[-1])


def existing(path: Path) -> RunDir:
    """The run directory at `path`. Raises UsageError when it is none."""
    run_dir = RunDir(path.resolve())
    if not run_dir.journal.is_file() and not run_dir.control.journal.is_file():
        raise UsageError(f"{path} is not the directory of a run: it has no {journal.FILE_NAME}")
    return run_dir
