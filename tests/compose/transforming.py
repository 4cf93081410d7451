"""Transforms a Compose file as a run does: written, read by the real `docker compose config`, changed, read again."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.runtime.compose import command, labels, project
from chaoskit.runtime.compose.command import Files
from chaoskit.runtime.compose.project import Changes, Needs, RunProject

NAME = "chaoskit-0badcafe"
OWNER = labels.owner()
PIPELINE = """\
services:
  rabbitmq: {image: "rabbitmq:4-management"}
  worker:
    image: python:3.13-slim
    command: [python, worker.py]
"""
Transform = Callable[..., RunProject]


@pytest.fixture(scope="session")
def compose_command() -> None:
    """Skips the test where there is no `docker compose`; no engine is needed."""
    found = shutil.which("docker")
    if found and subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=20).returncode == 0:
        return
    if os.environ.get("CHAOSKIT_REQUIRE_DOCKER") == "1":
        pytest.fail("CHAOSKIT_REQUIRE_DOCKER=1 and there is no `docker compose`")
    pytest.skip("there is no `docker compose`")


@pytest.fixture
def transform(tmp_path: Path, compose_command: None) -> Transform:
    """Writes a Compose file, reads it with Compose, transforms it, and has Compose accept the outcome."""

    def run(
        text: str, *, programs: dict[str, Needs] | None = None, profiles: tuple[str, ...] = (), **fields: Any
    ) -> RunProject:
        file = tmp_path / "compose.yaml"
        file.write_text(text)
        files = Files((file,), profiles)
        resolved = asyncio.run(command.resolve(files, {}))
        before = json.dumps(resolved)
        needs = {"worker": Needs(watched=True)} if programs is None else programs
        agent = {"image": "python:3.13-slim", "command": ["sleep", "infinity"]}
        made = project.transform(resolved, Changes(NAME, NAME, OWNER, needs, agent, **fields))
        assert json.dumps(resolved) == before
        accepted_by_compose(made)
        return made

    return run


def accepted_by_compose(made: RunProject) -> dict[str, Any]:
    done = subprocess.run(
        ["docker", "compose", "--file", "-", "config", "--format", "json"],
        input=json.dumps(command.escaped(made.document)),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def service(made: RunProject, name: str) -> dict[str, Any]:
    found: dict[str, Any] = made.document["services"][name]
    return found


def mounted(made: RunProject, name: str) -> dict[str, tuple[str, str, bool]]:
    """Where a service has what: target -> type, source, read-only."""
    return {
        mount["target"]: (mount["type"], mount.get("source", ""), bool(mount.get("read_only")))
        for mount in service(made, name).get("volumes", ())
    }
