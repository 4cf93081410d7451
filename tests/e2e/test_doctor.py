"""`chaoskit doctor` on machines that lack something: what it says, what mends it, and its exit code."""

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from chaoskit.engine.doctor.basics import available_bytes

WITHIN_S = 60.0
SOCKET = "unix:///var/run/docker.sock"
DENIED = f"permission denied while trying to connect to the Docker daemon socket at {SOCKET}: Get ..."
STOPPED = f"Cannot connect to the Docker daemon at {SOCKET}. Is the docker daemon running?"
NO_COMPOSE = "docker: unknown command: docker compose"
SERVER = '{"Version": "26.1.5", "ApiVersion": "1.45", "Os": "linux"}'


def doctor(directory: Path, **changes: str) -> dict[str, Any]:
    """What it finds, by name, with `can_run` and `can_compose` beside it."""
    done = subprocess.run(
        [sys.executable, "-m", "chaoskit", "doctor", "--json"],
        cwd=directory,
        env={**os.environ, **changes},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["can_run"] else 3)
    findings = {finding["name"]: finding for finding in document.pop("findings")}
    assert [f for f in findings.values() if (f["status"] == "ok") == bool(f["mend"])] == []
    return {**findings, **document}


def machine_with(directory: Path, compose: str, engine: str) -> str:
    """A PATH whose `docker` is a shell script: what it does for `docker compose`, and for everything else."""
    commands = directory / "commands"
    commands.mkdir()
    (commands / "docker").write_text(f"#!/bin/sh\nif test $1 = compose; then {compose}; else {engine}; fi\n")
    (commands / "docker").chmod(0o755)
    return f"{commands}:/usr/bin:/bin"


def test_it_looks_at_everything_that_runs_need(tmp_path: Path) -> None:
    found = doctor(tmp_path)
    wanted = {"Python", "pika", "process ends", "disk", "loopback", "memory", "control socket", "leftovers"}
    wanted |= {"kernel", "architecture", "seccomp", "tap", "Docker engine", "Docker Compose v2"}
    assert wanted <= set(found)


def test_without_docker_runs_work_all_the_same_and_compose_does_not(tmp_path: Path) -> None:
    found = doctor(tmp_path, PATH=str(tmp_path))
    assert found["can_run"]
    assert not found["can_compose"]
    for name in ("Docker engine", "Docker Compose v2"):
        assert found[name]["status"] == "missing"
        assert "get.docker.com" in found[name]["mend"]
    assert not found["Docker engine"]["needed"]


@pytest.mark.parametrize(
    ("compose", "engine", "broken", "mend"),
    [
        ("echo 2.30.0", f"echo '{DENIED}' >&2; exit 1", "Docker engine", "usermod -aG docker"),
        ("echo 2.30.0", f"echo '{STOPPED}' >&2; exit 1", "Docker engine", "start docker"),
        (f"echo '{NO_COMPOSE}' >&2; exit 1", f"echo '{SERVER}'", "Docker Compose v2", "apt-get install"),
        ("echo 1.29.2", f"echo '{SERVER}'", "Docker Compose v2", "get.docker.com"),
    ],
    ids=["permission", "stopped", "no Compose", "old Compose"],
)
def test_what_is_wrong_with_docker_has_the_command_that_mends_it(
    tmp_path: Path, compose: str, engine: str, broken: str, mend: str
) -> None:
    found = doctor(tmp_path, PATH=machine_with(tmp_path, compose, engine))
    assert found[broken]["status"] == "broken"
    assert mend in found[broken]["mend"]
    other = ({"Docker engine", "Docker Compose v2"} - {broken}).pop()
    assert found[other]["status"] == "ok", "the other is not blamed"
    assert found["can_run"]
    assert not found["can_compose"]


def test_an_engine_that_does_not_answer_does_not_hold_it_up(tmp_path: Path) -> None:
    found = doctor(tmp_path, PATH=machine_with(tmp_path, "echo 2.30.0", f"exec sleep {WITHIN_S:g}"))
    assert "did not answer" in found["Docker engine"]["detail"]


def test_a_directory_that_cannot_be_written_ends_with_3(tmp_path: Path) -> None:
    # /proc cannot be written by anybody, also not by root.
    found = doctor(Path("/proc"))
    assert found["disk"]["status"] == "broken"
    assert not found["can_run"]
    assert not found["can_compose"]


def test_memory_is_that_of_the_machine_or_the_limit_of_the_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       24684664 kB\nMemAvailable:   1000000 kB\n")
    assert available_bytes(meminfo, tmp_path) == 1_024_000_000
    (tmp_path / "memory.current").write_text("5000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 1_024_000_000
    (tmp_path / "memory.max").write_text("105000000\n")
    assert available_bytes(meminfo, tmp_path) == 100_000_000
    old = tmp_path / "version 1" / "memory"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("55000000\n")
    (old / "memory.usage_in_bytes").write_text("5000000\n")
    assert available_bytes(meminfo, tmp_path / "version 1") == 50_000_000
    assert available_bytes(tmp_path / "gone", tmp_path / "gone") is None


def test_what_a_dead_run_left_on_the_engine_is_told(tmp_path: Path, orphans: None) -> None:
    name = f"chaoskit-test-{uuid.uuid4().hex[:8]}"
    owner = f"{socket.gethostname()}:999999999:1"
    make = ["docker", "volume", "create", "--label", f"chaoskit.run={name}", "--label", f"chaoskit.owner={owner}", name]
    if shutil.which("docker") is None or subprocess.run(make, capture_output=True, timeout=WITHIN_S).returncode:
        if os.environ.get("CHAOSKIT_REQUIRE_DOCKER") == "1":
            pytest.fail("CHAOSKIT_REQUIRE_DOCKER=1 and no engine")
        pytest.skip("no engine answers")
    try:
        found = doctor(tmp_path)["leftovers"]
    finally:
        subprocess.run(["docker", "volume", "rm", name], capture_output=True, timeout=WITHIN_S)
    assert "of dead runs" in found["detail"]
    assert found["mend"] == "chaoskit clean"
