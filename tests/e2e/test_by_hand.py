"""up, down, ps, logs, kill, restart and the inspect commands, with the real program in a directory of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaoskit.engine import control
from chaoskit.runtime.processes import marked

WITHIN_S = 60.0


class Directory:
    """A directory with at most one pipeline, and the commands that act on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "chaoskit", *arguments]
        return subprocess.run(
            command, cwd=self.path, capture_output=True, text=True, timeout=WITHIN_S, check=False, **options
        )

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "chaoskit", *arguments]
        return subprocess.Popen(
            command, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def ps(self) -> dict[str, Any]:
        """What `ps --json` prints, without starting an interpreter for each look."""
        up = json.loads((self.path / ".chaoskit/up").read_bytes())
        listing: dict[str, Any] = msgspec.to_builtins(control.ask(up["socket"], control.Ps(), WITHIN_S))
        return listing

    def said(self, program: str) -> str:
        """What `logs PROGRAM` is made of."""
        return (self.path / f".chaoskit/latest/logs/{program}.log").read_text()

    def program(self, name: str) -> dict[str, Any]:
        return next(row for row in self.ps()["programs"] if row["program"] == name)

    def processes(self) -> list[int]:
        runs = self.path / ".chaoskit" / "runs"
        return [pid for run in runs.glob("*") for pid in marked(str(run.resolve()))]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WITHIN_S} s for {what}"


@pytest.fixture
def here(tmp_path: Path, orphans: None) -> Iterator[Directory]:
    directory = Directory(tmp_path)
    yield directory
    directory.run("down")
    directory.run("clean")
    assert directory.processes() == []


def test_a_pipeline_goes_up_is_looked_at_and_goes_down(here: Directory) -> None:
    assert "stateful is up" in here.ok("up", "-d", "stateful")
    listing = json.loads(here.ok("ps", "--json"))
    assert listing["ready"]
    assert "worker-2     up" in here.ok("ps")
    assert here.program("worker-2")["state"] == "up"
    assert {queue["queue"]: queue["consumers"] for queue in listing["queues"]} == {"queue-1-2": 1, "queue-2-3": 1}
    until(lambda: here.program("test-runner")["state"] == "finished", "the test runner")
    assert here.program("test-runner")["exit_code"] == 0
    until(lambda: here.said("worker-3").count("SUCCESS [") == 2, "two verdicts")
    assert here.ok("logs", "worker-3").count("SUCCESS [") == 2
    assert "stateful is down" in here.ok("down")
    assert here.processes() == []
    assert not (here.path / ".chaoskit" / "up").exists()
    assert "no pipeline is up" in here.ok("down")
    assert here.run("judge", ".chaoskit/latest").returncode == 0
    assert "finished" in here.ok("inspect-metadata", "CLI1")


def test_a_killed_program_stays_dead_until_it_is_restarted(here: Directory) -> None:
    here.ok("up", "-d", "stateful", "--set", "EXPECTED_CHUNKS=5")
    before = here.program("worker-2")["pid"]
    assert "stays dead" in here.ok("kill", "worker-2")
    assert (here.program("worker-2")["state"], here.program("worker-2")["exit_code"]) == ("dead", -signal.SIGKILL)
    again = here.run("kill", "worker-2")
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert "was started" in here.ok("restart", "worker-2")
    row = here.program("worker-2")
    assert (row["state"], row["life"]) == ("up", 1)
    assert row["pid"] != before
    assert "stopped and started" in here.ok("restart", "worker-2")
    assert here.program("worker-2")["life"] == 2
    assert here.run("restart", "nobody").returncode == 2


def test_a_program_that_dies_by_itself_is_started_again(here: Directory) -> None:
    here.ok("up", "-d", "stateful", "--set", "EXPECTED_CHUNKS=5")
    here.ok("kill", "worker-2")
    here.ok("restart", "worker-2")
    os.kill(here.program("worker-2")["pid"], signal.SIGKILL)
    until(lambda: here.program("worker-2")["life"] == 2, "the next life of worker-2")


def test_metadata_is_seen_while_the_worker_runs_is_dead_and_is_gone(here: Directory) -> None:
    here.ok("up", "-d", "stateful", "--set", "EXPECTED_CHUNKS=5")

    def rows() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(here.run("inspect-metadata", "CLI1", "--json").stdout or '{"files": []}')
        return found["files"][0]["rows"] if found["files"] else {"count": 0}

    until(lambda: rows()["count"] == 3, "three rows")
    assert (rows()["sum"], rows()["unique"], rows()["torn"]) == (60, 3, None)
    here.ok("kill", "worker-2")
    file = here.path / ".chaoskit/latest/data/worker-2/metadata/CLI1.csv"
    file.write_bytes(file.read_bytes() + b"CLI100000003,3,30\nCLI1000")
    assert (rows()["sum"], rows()["duplicates"], rows()["torn"]) == (60, 1, repr(b"CLI1000"))
    assert "duplicate of line 4" in here.ok("inspect-metadata", "CLI1")
    here.ok("down")
    assert rows()["torn"] == repr(b"CLI1000")
    file.write_bytes(b"id,name\n1,2\n")
    assert here.run("check-metadata").returncode == 1


def test_ids_that_leave_the_directory_and_unknown_ones_are_one_line(here: Directory) -> None:
    here.ok("up", "-d", "stateful")
    here.ok("down")
    for client in ("../../etc/passwd", "", "a/b", "CLI9"):
        done = here.run("inspect-metadata", client)
        assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (2, 1, ""), done.stderr
    assert "CLI1, CLI2" in here.run("inspect-metadata", "CLI9").stderr


def test_partition_files_and_state_are_shown(here: Directory) -> None:
    here.ok("up", "-d", "partition-writes", "--set", "NUM_CHUNKS=3", "--set", "NUM_PARTITIONS=2")
    until(lambda: here.said("worker-3").count("SUCCESS [") >= 3, "three verdicts")
    found = json.loads(here.ok("inspect-partitions", "--json"))["partitions"]
    assert [(one["number"], one["rows"]["header"], one["rows"]["faults"]) for one in found] == [
        (0, "whole", []),
        (1, "whole", []),
    ]
    assert 30 <= sum(one["rows"]["count"] for one in found) <= 60
    state = json.loads(here.ok("inspect-state", "--json"))["state"][0]
    assert state["processed"]["count"] == 3
    assert not state["pending"]
    file = next((here.path / ".chaoskit/latest/data/worker-2/partitions").glob("*-000.csv"))
    file.write_bytes(file.read_bytes() + b"1,Eve\n0,To")
    damaged = here.run("inspect-partitions", "0")
    assert damaged.returncode == 1
    assert "it belongs to partition 1" in damaged.stdout
    assert "b'0,To'" in damaged.stdout


def test_a_second_pipeline_in_one_directory_is_refused(here: Directory) -> None:
    here.ok("up", "-d", "stateful")
    for arguments in (("up", "stateful"), ("up", "-d", "stateful")):
        done = here.run(*arguments)
        assert done.returncode == 2
        assert "is up in this directory already (stateful, pid" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert here.program("worker-2")["state"] == "up"


def test_ctrl_c_stops_a_pipeline_in_the_foreground(here: Directory) -> None:
    with here.start("up", "stateful") as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        shown = next(line for line in lines if "SUCCESS [CLI2]" in line)
        process.send_signal(signal.SIGINT)
        rest = "".join(lines)
        assert process.wait(WITHIN_S) == 130, rest
    assert re.match(r"worker-3     \| ", shown)
    assert here.processes() == []


def test_down_ends_a_pipeline_in_the_foreground_with_code_0(here: Directory) -> None:
    with here.start("up", "stateful") as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert any("the pipeline is ready" in line for line in lines)
        here.ok("down")
        rest = "".join(lines)
        assert process.wait(WITHIN_S) == 0, rest


def test_followed_logs_end_when_the_pipeline_goes_down(here: Directory) -> None:
    here.ok("up", "-d", "stateful")
    with here.start("logs", "-f", "--tail", "1", "worker-2") as process:
        here.ok("restart", "worker-2")
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert any("Rebuilding state from metadata" in line for line in lines)
        here.ok("down")
        rest = list(lines)
        assert process.wait(WITHIN_S) == 0
    assert all(line.startswith("worker-2  | ") for line in rest)


def test_control_characters_of_a_program_are_shown_and_not_sent(here: Directory) -> None:
    _scenario(here.path, "print('\\x1b[31mred\\x07', flush=True); import time; time.sleep(1000)")
    here.ok("up", "-d", "scenario.yaml")
    until(lambda: "red" in here.said("only"), "the line")
    shown = here.ok("logs")
    assert "\\x1b[31mred\\x07" in shown
    assert "\x1b" not in shown


def test_a_pipeline_that_cannot_come_up_in_the_background_says_why_in_one_line(here: Directory) -> None:
    _scenario(here.path, "pass", command="no-such-command-anywhere")
    done = here.run("up", "-d", "scenario.yaml")
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
    assert "no-such-command-anywhere" in done.stderr
    assert here.run("ps").returncode == 2
    assert here.processes() == []


def test_a_long_path_to_the_directory_is_no_obstacle(here: Directory, tmp_path: Path) -> None:
    deep = Directory(tmp_path / ("d" * 100) / ("e" * 100))
    deep.path.mkdir(parents=True)
    deep.ok("up", "-d", "stateful")
    try:
        assert deep.program("worker-2")["state"] == "up"
    finally:
        deep.ok("down")


def _scenario(directory: Path, code: str, command: str = "python") -> None:
    (directory / "program.py").write_text(code)
    (directory / "scenario.yaml").write_text(
        "name: small\nbroker: false\ntarget: only\nverifier: {program: only, expect: [A]}\n"
        f"programs: {{only: {{command: [{command}, program.py]}}}}\n"
    )
