"""Programs under the tap, for the tests: started, supervised until they end, and judged by what they left behind."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from chaoskit.tap import Call, Event, Fired, Rule, Supervisor, spawn, unavailable

DEADLINE_S = 20.0


@dataclass
class Outcome:
    """What a supervised program did: its exit code (negative: the signal), its output, and the tap's events."""

    code: int
    output: str
    events: list[Event] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)

    @property
    def points(self) -> list[str]:
        return [event.point.partition("/0/")[2] for event in self.events if isinstance(event, Call)]

    @property
    def fired(self) -> list[Fired]:
        return [event for event in self.events if isinstance(event, Fired)]


def until_ended(supervisor: Supervisor, deadline_s: float = DEADLINE_S) -> None:
    """Answer everything until the last process of the program is gone."""
    end = time.monotonic() + deadline_s
    while not supervisor.ended:
        assert time.monotonic() < end, "the program did not end in time"
        select.select([supervisor], [], [], 0.5)
        supervisor.step()


def run(argv: list[str], root: Path, rules: tuple[Rule, ...] = (), **options: Any) -> Outcome:
    """Run a command in `root` under the tap until it ends."""
    events: list[Event] = []
    log = root.parent / f"{root.name}.log"
    with log.open("wb") as sink:
        child = spawn(argv, env=dict(os.environ), cwd=root, stdout=sink.fileno(), stderr=sink.fileno())
    assert child.listener_fd is not None
    supervisor = Supervisor(child.listener_fd, root=root, rules=rules, on_event=events.append, **options)
    try:
        until_ended(supervisor)
    finally:
        supervisor.close()
        os.close(child.pidfd)
        _, status = os.waitpid(child.pid, 0)
    return Outcome(os.waitstatus_to_exitcode(status), log.read_text(), events, supervisor.rules)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The watched directory."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def python(root: Path) -> Iterator[Callable[..., Outcome]]:
    """Runs Python source in the watched directory: `python(source, *rules, **options of Supervisor)`."""
    if (reason := unavailable()) is not None:
        pytest.skip(reason)

    def run_source(source: str, *rules: Rule, **options: Any) -> Outcome:
        prelude = "import os, sys, signal, socket, threading, time\n"
        return run([sys.executable, "-I", "-S", "-c", prelude + dedent(source)], root, rules, **options)

    yield run_source
