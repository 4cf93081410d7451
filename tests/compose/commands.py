"""`chaoskit ARGS` as a process, and what it left on an engine that others use at the same time."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from chaoskit import journal
from chaoskit.model.events import AnyEvent
from chaoskit.runtime.compose import labels, leftovers
from chaoskit.runtime.compose.engine import connect

RUN_LIMIT_S = 170.0
_ENDING_S = 90.0
_LOOK_AGAIN_S = 0.05
# Nothing that ends up in a line of ours may depend on where the tests run.
_OF_THE_MACHINE = ("GITHUB_ACTIONS", "CHAOSKIT_AGENT_IMAGE")


def wait_until(what: str, condition: Callable[[], object], deadline_s: float = 60.0) -> None:
    """Return when `condition` holds; fail when it does not before the deadline."""
    never = threading.Event()
    until_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until_s, f"{what} did not happen in {deadline_s:g} s"
        never.wait(_LOOK_AGAIN_S)


@dataclass
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str
    took_s: float
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def points(self) -> list[tuple[str, int | None]]:
        """Where each fault fell, and how many bytes were written there."""
        return [(fault["trigger"], fault["written_bytes"]) for fault in self.report["faults"]]


class Chaoskit:
    """Runs commands in a directory of their own, and remembers their processes as owners of things on the engine.

    `variables` are added to the environment of each.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.owners: set[str] = set()
        self.variables: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _OF_THE_MACHINE}
        return {**kept, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", **self.variables}

    def popen(self, *args: str, front: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start it; `front` is a command that becomes it, such as setpriv."""
        return self.start([*front, sys.executable, "-m", "chaoskit", *args])

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start any command that acts as chaoskit."""
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.owners.add(labels.owner(process.pid))
        return process

    def finish(self, process: subprocess.Popen[str], limit_s: float = _ENDING_S) -> Finished:
        """Wait for its end. No output of it may hold a traceback."""
        began_s = time.monotonic()
        try:
            out, err = process.communicate(timeout=limit_s)
        finally:
            process.kill()
        done = Finished(process.returncode, out, err, time.monotonic() - began_s)
        assert "Traceback" not in done.text, done.text
        if done.out.startswith("{"):
            done.report = json.loads(done.out)
        return done

    def __call__(self, *args: str, front: tuple[str, ...] = ()) -> Finished:
        return self.finish(self.popen(*args, front=front), RUN_LIMIT_S)

    def green(self, *args: str) -> Finished:
        """A command with --json that has to be green."""
        done = self(*args, "--json")
        assert done.code == 0, done.text
        return done

    def events(self, done: Finished) -> list[AnyEvent]:
        """The journal of a run that was reported."""
        return journal.read(self.directory / done.report["run_dir"] / "journal.jsonl")


@dataclass(frozen=True)
class Things:
    """What there is on an engine: for each thing its key, and the owner that its labels name ('' for none)."""

    containers: Mapping[str, str]
    networks: Mapping[str, str]
    volumes: Mapping[str, str]
    images: Mapping[str, str]
    hanging: frozenset[str]

    def of(self, owners: set[str]) -> list[str]:
        """All that carries the label of one of these owners."""
        kinds = {
            "container": self.containers,
            "network": self.networks,
            "volume": self.volumes,
            "image": self.images,
        }
        return [f"{kind} {key}" for kind, found in kinds.items() for key, owner in found.items() if owner in owners]


def things(client: docker.DockerClient) -> Things:
    """Everything that is on the engine now; `hanging` are volumes and images that nobody uses and nobody named."""
    api = client.api
    images = api.images(all=True)
    unused = api.volumes(filters={"dangling": True}).get("Volumes") or ()
    nameless = {it["Id"] for it in api.images(filters={"dangling": True})}
    anonymous = {it["Name"] for it in unused if len(it["Name"]) == 64}
    return Things(
        {it["Id"]: _owner(it) for it in api.containers(all=True)},
        {it["Name"]: _owner(it) for it in api.networks()},
        {it["Name"]: _owner(it) for it in api.volumes().get("Volumes") or ()},
        {it["Id"]: (it["Labels"] or {}).get(labels.IMAGE_OWNER, "") for it in images},
        frozenset(nameless | anonymous),
    )


def _owner(thing: Mapping[str, Any]) -> str:
    return str((thing["Labels"] or {}).get(labels.OWNER, ""))


def left(client: docker.DockerClient, before: Things, owners: set[str]) -> list[str]:
    """What is there that was not there before, of these owners or of nobody; others' tests work on the engine too."""
    now = things(client)
    return now.of(owners) + sorted(now.hanging - before.hanging)


def assert_nothing_left(client: docker.DockerClient, before: Things, owners: set[str], told: str = "") -> None:
    """Nothing of these owners is there, at once. What belongs to nobody may be another's that is on its way out."""
    assert things(client).of(owners) == [], told
    found: list[str] = []

    def nothing() -> bool:
        found[:] = left(client, before, owners)
        return not found

    try:
        wait_until("the removal of what belongs to nobody", nothing, 30.0)
    except AssertionError:
        raise AssertionError(f"left on the engine: {found}\n{told}") from None


@pytest.fixture
def client(engine: None) -> Iterator[docker.DockerClient]:
    """The engine."""
    made = connect()
    yield made
    made.close()


@pytest.fixture
def chaoskit(client: docker.DockerClient, tmp_path: Path) -> Iterator[Chaoskit]:
    """Commands in an empty directory, all of which are over and leave nothing on the engine at the end of the test."""
    before = things(client)
    made = Chaoskit(tmp_path)
    yield made
    try:
        assert_nothing_left(client, before, made.owners)
    finally:
        leftovers.remove_orphans(client)
