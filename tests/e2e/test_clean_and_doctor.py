"""What a killed chaoskit leaves behind is found and removed; what lives is left alone. doctor and broker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.engine.holding import held, is_held
from chaoskit.runtime.processes import identity, marked

WITHIN_S = 60.0
# A program whose child leaves the session and so survives whatever happens to its parent.
ESCAPES = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
time.sleep(1000)
"""
SCENARIO = """
name: small
broker: false
target: only
verifier: {program: only, expect: [A]}
programs: {only: {command: [python, program.py]}}
"""


@pytest.fixture
def directory(tmp_path: Path, orphans: None) -> Iterator[Path]:
    (tmp_path / "program.py").write_text(ESCAPES)
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    yield tmp_path
    chaoskit(tmp_path, "down")
    for pid in processes(tmp_path):
        os.kill(pid, signal.SIGKILL)


def chaoskit(directory: Path, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "chaoskit", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


def processes(directory: Path) -> list[int]:
    return [pid for run in (directory / ".chaoskit/runs").glob("*") for pid in marked(str(run.resolve()))]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WITHIN_S} s for {what}"


def kill_the_background_process(directory: Path) -> None:
    pid = json.loads((directory / ".chaoskit/up").read_bytes())["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: identity(pid) is None, "its end")


def up(directory: Path) -> None:
    done = chaoskit(directory, "up", "-d", "scenario.yaml")
    assert done.returncode == 0, done.stderr
    until(lambda: len(processes(directory)) == 2, "the child that escapes")


def test_clean_removes_what_a_killed_chaoskit_left_and_says_so(directory: Path) -> None:
    up(directory)
    kill_the_background_process(directory)
    assert processes(directory)
    here = str(directory)
    for command in ("ps", "down"):
        done = chaoskit(directory, command)
        assert done.returncode == 2
        assert "was killed: `chaoskit clean`" in done.stderr
    assert "chaoskit clean" in chaoskit(directory, "doctor").stdout
    planned = chaoskit(directory, "clean", "--dry-run").stdout
    assert f"of {here}" in planned
    assert processes(directory)
    assert (directory / ".chaoskit/up").exists()
    done = chaoskit(directory, "clean")
    assert done.returncode == 0
    assert "killed only (pid" in done.stdout
    assert f"removed {here}/.chaoskit/up" in done.stdout
    assert "removed the control socket in" in done.stdout
    until(lambda: not processes(directory), "the end of the leftovers")
    assert here not in chaoskit(directory, "clean", "--dry-run").stdout


def test_up_takes_over_from_a_killed_chaoskit(directory: Path) -> None:
    up(directory)
    kill_the_background_process(directory)
    done = chaoskit(directory, "up", "-d", "scenario.yaml")
    assert done.returncode == 0
    assert "was killed" in done.stderr
    assert json.loads(chaoskit(directory, "ps", "--json").stdout)["ready"]
    assert chaoskit(directory, "down").returncode == 0
    assert processes(directory) == []


def test_clean_leaves_a_living_pipeline_alone(directory: Path) -> None:
    up(directory)
    before = processes(directory)
    assert str(directory) not in chaoskit(directory, "clean").stdout
    refused = chaoskit(directory, "clean", "--all", "--yes")
    assert refused.returncode == 2
    assert "`chaoskit down` first" in refused.stderr
    assert processes(directory) == before
    assert json.loads(chaoskit(directory, "ps", "--json").stdout)["programs"][0]["state"] == "up"


def test_all_leaves_a_run_alone_that_is_going_on_and_has_no_process_here(directory: Path) -> None:
    going_on = directory / ".chaoskit" / "runs" / "now"
    going_on.mkdir(parents=True)
    with held(going_on):
        refused = chaoskit(directory, "clean", "--all", "--yes")
    assert refused.returncode == 2
    assert "a run of this directory is still going on (now)" in refused.stderr
    assert going_on.is_dir()
    assert chaoskit(directory, "clean", "--all", "--yes").returncode == 0
    assert not going_on.exists()


def test_a_run_holds_its_directory(directory: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "chaoskit", "run", "stateful"], cwd=directory)
    until(lambda: any(map(is_held, (directory / ".chaoskit" / "runs").glob("*"))), "a held run")
    assert process.wait(WITHIN_S) == 0
    assert not any(map(is_held, (directory / ".chaoskit" / "runs").glob("*")))


def test_all_removes_the_saved_runs_and_asks_first(directory: Path) -> None:
    up(directory)
    assert chaoskit(directory, "down").returncode == 0
    asked = chaoskit(directory, "clean", "--all")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert "would remove 1 saved run" in chaoskit(directory, "clean", "--all", "--dry-run").stdout
    assert list((directory / ".chaoskit/runs").iterdir())
    assert "removed 1 saved run" in chaoskit(directory, "clean", "--all", "--yes").stdout
    assert not (directory / ".chaoskit/runs").exists()
    assert not (directory / ".chaoskit/latest").is_symlink()


def test_a_process_that_only_borrows_the_mark_is_left_alone(directory: Path) -> None:
    # It carries the mark but names no owner, or one that lives: nobody can say that it is left over.
    for owner in ({}, {"CHAOSKIT_OWNER": identity(os.getpid()) or ""}, {"CHAOSKIT_OWNER": "nonsense"}):
        environment = {**os.environ, "CHAOSKIT_RUN": str(directory / ".chaoskit/runs/x"), **owner}
        with subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=subprocess.PIPE) as process:
            assert str(directory) not in chaoskit(directory, "clean").stdout
            assert process.poll() is None
            process.kill()


def test_doctor_says_that_it_can_run_here(tmp_path: Path) -> None:
    done = chaoskit(tmp_path, "doctor", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["can_run"]
    assert all(finding["mend"] for finding in document["findings"] if finding["status"] != "ok")
    names = {finding["name"] for finding in document["findings"]}
    assert {"kernel", "tap", "pika", "Python", "disk", "loopback", "leftovers", "Docker engine"} <= names


def test_doctor_ends_with_3_where_nothing_can_run(tmp_path: Path) -> None:
    # A directory that is gone cannot be written, also not by root.
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} -P -m chaoskit doctor"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_the_broker_by_itself_serves_until_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chaoskit", "broker", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("broker on 127.0.0.1:")
        port = int(line.split(":")[1].split(",")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            assert client.recv(1) == b"\x01"
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == 130


def test_a_taken_port_is_one_line_and_code_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = chaoskit(tmp_path, "broker", "--port", str(taken.getsockname()[1]))
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "the port is taken" in done.stderr
