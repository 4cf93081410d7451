"""What the tests on a real engine share: whether there is one, and a project that is gone afterwards."""

import json
import os
import re
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .commands import chaoskit, client
from .transforming import compose_command, transform

__all__ = ["chaoskit", "client", "compose_command", "transform"]

COMPOSE_DIR = Path(__file__).parents[2] / "compose"
UP_DEADLINE_S = 90.0
_COMMAND_LIMIT_S = 240.0
_ENGINE_LIMIT_S = 20.0
_OF_THE_MACHINE = {"PIP_CERT", "PYTHON_IMAGE", "RABBITMQ_IMAGE"}
_REQUIRE = "CHAOSKIT_REQUIRE_DOCKER"
# Compose 2.26 clears the terminal's line before each line of a log, also when there is no terminal.
_TERMINAL_CODE = re.compile(r"\r|\x1b\[[0-9;]*[A-Za-z]")


def _plain(text: str) -> str:
    return _TERMINAL_CODE.sub("", text)


def _engine_problem() -> str | None:
    if shutil.which("docker") is None:
        return "there is no docker command"
    for command in (["docker", "version", "--format", "{{.Server.Version}}"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ENGINE_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"{' '.join(command)} did not answer in {_ENGINE_LIMIT_S:g} s"
        if done.returncode != 0:
            return f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}"
    return None


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips the test where no engine with Compose v2 answers; with CHAOSKIT_REQUIRE_DOCKER=1 it fails instead."""
    problem = _engine_problem()
    if problem is None:
        return
    if os.environ.get(_REQUIRE) == "1":
        pytest.fail(f"{_REQUIRE}=1 and no engine: {problem}")
    pytest.skip(problem)


class Following:
    """A command whose output is read line by line while it runs."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._news:
                    self.lines.append(_plain(line).rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, what: str, condition: Callable[[list[str]], bool], deadline_s: float = UP_DEADLINE_S) -> None:
        """Return when the lines so far fulfil the condition; fail with the last of them when that does not happen."""
        with self._news:
            self._news.wait_for(lambda: self._ended or condition(self.lines), deadline_s)
            assert condition(self.lines), f"{what} did not happen:\n" + "\n".join(self.lines[-30:])

    def wait_for_text(self, text: str, times: int = 1) -> None:
        self.wait_for(f"{text!r} x {times}", lambda lines: sum(text in line for line in lines) >= times)

    def close(self) -> None:
        """End the command and read the rest of its output."""
        self.process.kill()
        self.process.wait()
        self._reader.join()


class Project:
    """One Compose project: a name and an image of its own, the file of a scenario, the environment of the command.

    Compose writes the project's name into the image, so a shared image name would leave an untagged image a project.
    """

    def __init__(self, scenario: str, environment: Mapping[str, str], folder: Path = COMPOSE_DIR) -> None:
        self.name = f"chaoskit-test-{uuid.uuid4().hex[:12]}"
        self.file = folder / f"{scenario}.yaml"
        quiet = {"COMPOSE_ANSI": "never", "BUILDKIT_PROGRESS": "plain"}
        # A parameter that this shell happens to export is none of the test's.
        given = set(re.findall(r"\$\{(\w+)", self.file.read_text())) - _OF_THE_MACHINE
        inherited = {name: value for name, value in os.environ.items() if name not in given}
        self.environment = {**inherited, **quiet, "CHAOSKIT_IMAGE": self.name, **environment}
        self._following: list[Following] = []

    def command(self, *args: str) -> list[str]:
        return ["docker", "compose", "--project-name", self.name, "--file", str(self.file), *args]

    def __call__(self, *args: str) -> str:
        """Run `docker compose ARGS`, which must succeed; returns its standard output."""
        done = subprocess.run(
            self.command(*args), env=self.environment, capture_output=True, text=True, timeout=_COMMAND_LIMIT_S
        )
        assert done.returncode == 0, f"docker compose {' '.join(args)}: {done.stderr}"
        return done.stdout

    def follow(self, *args: str) -> Following:
        following = Following(self.command(*args), self.environment)
        self._following.append(following)
        return following

    def lines_of(self, service: str) -> list[str]:
        """Everything that a service printed, in all of its lives."""
        return _plain(self("logs", "--no-color", "--no-log-prefix", service)).splitlines()

    def state_of(self, service: str) -> dict[str, Any]:
        """The container of a service: State, ExitCode, Health..."""
        state: dict[str, Any] = json.loads(self("ps", "--all", "--format", "json", service))
        return state

    def wait_until_exited(self, service: str) -> int:
        """The exit code of a service that ends by itself."""
        container = self("ps", "--all", "--quiet", service).strip()
        done = subprocess.run(["docker", "wait", container], capture_output=True, text=True, timeout=UP_DEADLINE_S)
        return int(done.stdout)

    def close(self) -> None:
        """Remove everything. What an `up` was in the middle of making may come behind a first `down`."""
        try:
            self("down", "--volumes", "--remove-orphans", "--timeout", "0")
        finally:
            for following in self._following:
                following.close()
            if self._following:
                self("down", "--volumes", "--remove-orphans", "--timeout", "0")
            subprocess.run(
                ["docker", "image", "rm", "--force", self.name], capture_output=True, timeout=_COMMAND_LIMIT_S
            )


@pytest.fixture
def project(engine: None) -> Iterator[Callable[..., Project]]:
    """Makes projects; every container, network and volume of theirs is removed in the end, whatever happened."""
    projects: list[Project] = []

    def make(scenario: str, folder: Path = COMPOSE_DIR, **environment: str) -> Project:
        projects.append(Project(scenario, environment, folder))
        return projects[-1]

    yield make
    for made in projects:
        made.close()
