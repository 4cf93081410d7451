"""What the end-to-end tests share: chaoskit in this process and as a command, and what must be gone afterwards."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaoskit import bundled, journal
from chaoskit.engine import run as engine
from chaoskit.model.events import AnyEvent, FaultFired
from chaoskit.model.plan import Plan
from chaoskit.model.run import Report
from chaoskit.model.scenario import Scalar

PLANTED = Path(__file__).parent / "planted"
DEADLINE_S = 60.0
_LOOK_AGAIN_S = 0.02


@dataclass
class Ran:
    """A run in this process: its report, and what its journal and directory hold."""

    report: Report
    plan: Plan

    @property
    def path(self) -> Path:
        return Path(self.report.run_dir).resolve()

    @property
    def events(self) -> list[AnyEvent]:
        return journal.read(self.path / "journal.jsonl")

    @property
    def fired(self) -> list[FaultFired]:
        return [event for event in self.events if isinstance(event, FaultFired)]

    @property
    def outcomes(self) -> dict[str, str]:
        return {verdict.id: verdict.outcome for verdict in self.report.verdicts}

    def findings(self, check: str) -> list[str]:
        return [finding.text for finding in self.report.findings if finding.check == check]


class Watch(engine.Watcher):
    """Remembers the plan."""

    plan = Plan(0)

    def planned(self, plan: Plan) -> None:
        self.plan = plan


@dataclass
class InProcess:
    """`chaoskit run` without a process of its own, in an empty directory."""

    directory: Path

    def __call__(
        self,
        scenario: str | Path = "stateful",
        seed: int = 1,
        kills: int = 0,
        duplicates: int = 0,
        plan: str | None = None,
        parameters: Mapping[str, Scalar] | None = None,
        control: bool = True,
    ) -> Ran:
        chosen = bundled.find(str(scenario)).with_parameters(parameters or {})
        given = None
        if plan is not None:
            file = self.directory / "given-plan.yaml"
            file.write_text(plan)
            given = engine.load_plan(file, chosen)
        watch = Watch()
        report = engine.run(engine.Request(chosen, seed, kills, duplicates, given, control), watch)
        return Ran(report, watch.plan)


@dataclass
class Finished:
    """A command that ended."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str
    took_s: float
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Command:
    """`chaoskit ARGS` as a process, in an empty directory. No output of it may hold a traceback."""

    directory: Path

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if name != "GITHUB_ACTIONS"}
        return {**clean, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}

    def popen(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "chaoskit", *args],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: str, timeout_s: float = DEADLINE_S) -> Finished:
        began = time.monotonic()
        process = self.popen(*args)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        finished = Finished(args, process.returncode, out, err, time.monotonic() - began)
        assert "Traceback" not in finished.text, finished.text
        if "--json" in args and finished.out.startswith("{"):
            finished.report = json.loads(finished.out)
        return finished


def processes_of(directory: Path) -> list[int]:
    """Processes that a run below `directory` started: by the mark in their environment."""
    mark = f"CHAOSKIT_RUN={directory.resolve()}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and any(variable.startswith(mark) for variable in variables):
            found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], object], deadline_s: float = 10.0) -> bool:
    """Whether `condition` came true before the deadline."""
    end = time.monotonic() + deadline_s
    never = threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        never.wait(_LOOK_AGAIN_S)
    return True


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; no process of a run in it may be left at the end of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    yield tmp_path
    left = processes_of(tmp_path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"{len(left)} processes were left"


@pytest.fixture
def run(empty: Path) -> InProcess:
    return InProcess(empty)


@pytest.fixture
def chaoskit(empty: Path) -> Command:
    return Command(empty)


@pytest.fixture
def planted() -> Path:
    return PLANTED


@pytest.fixture
def alive() -> Callable[[Path], list[int]]:
    return processes_of


@pytest.fixture
def until() -> Callable[..., bool]:
    return wait_until
