"""Targets in containers, supervised from another container; and what both need from an engine. For the tests."""

import io
import json
import os
import queue
import shutil
import subprocess
import tarfile
import threading
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from chaoskit import tap
from chaoskit.tap import Call, Ended, Fired, Order, Report

IMAGE = os.environ.get("PYTHON_IMAGE", "python:3.13-slim")
LIMIT_S = 60.0
BROKER_PORT = 5672
AGENT_OPTIONS = ("--pid", "host", "--cap-add", "SYS_PTRACE", "--security-opt", "apparmor=unconfined")
LAUNCHER = ("python", "/tap/launcher.py", "--socket", "/tap/door", "--")
DATA = "/app/worker-data"
_PACKAGE = Path(tap.__file__ or "").parent


@cache
def engine_problem() -> str | None:
    """Why no container can be started here."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    done = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=LIMIT_S)
    return done.stderr.strip() if done.returncode else None


def docker(*arguments: str, given: bytes | None = None) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode()}"
    return done.stdout.decode()


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o644, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Agent:
    """A container with a Station in it (station_agent.py); `ask` gives it a command, its lines are kept in order."""

    def __init__(self, container: str) -> None:
        self.container = container
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._kept: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            ["docker", "start", "--attach", "--interactive", container],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.unavailable = self.next("hello")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def next(self, kind: str) -> Any:
        """The next line of this kind; others are kept for whoever wants them."""
        for index, line in enumerate(self._kept):
            if kind in line:
                return self._kept.pop(index)[kind]
        while (found := self._lines.get(timeout=LIMIT_S)) is not None:
            if kind in found:
                return found[kind]
            self._kept.append(found)
        raise AssertionError(f"the agent ended before it said {kind!r}: {docker('logs', self.container)}")

    def ask(self, do: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self.next("answer")

    def reports_until_ended(self) -> list[Report]:
        """Everything that the Station says of one life."""
        reports = [Report.from_json(self.next("report"))]
        while not isinstance(reports[-1].event, Ended):
            reports.append(Report.from_json(self.next("report")))
        return reports

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._reader.join()


@dataclass
class Life:
    """What came of one life of a target."""

    code: int
    output: str
    reports: list[Report]

    @property
    def points(self) -> list[str]:
        return [r.event.point.partition(f"/{r.life}/")[2] for r in self.reports if isinstance(r.event, Call)]

    @property
    def fired(self) -> list[Report]:
        return [report for report in self.reports if isinstance(report.event, Fired)]


@dataclass
class Rig:
    """A network, a volume for launcher and door, one for data, and the containers that share them."""

    name: str = field(default_factory=lambda: f"chaoskit-test-{uuid.uuid4().hex[:12]}")
    containers: list[str] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)

    def __post_init__(self) -> None:
        docker("network", "create", self.name)

    def _create(self, *arguments: str) -> str:
        self.containers.append(docker("create", *arguments).strip())
        return self.containers[-1]

    def _volumes(self, mode: str, data: str) -> list[str]:
        # Without `nocopy` an empty volume gets the owner of what the image has at that place.
        return ["--volume", f"{self.name}-tap:/tap{mode}", "--volume", f"{self.name}-data:{data}:nocopy"]

    def agent(self, program: Path, options: tuple[str, ...] = AGENT_OPTIONS) -> Agent:
        """A new agent; the volume for the targets holds the launcher and the program."""
        network = ["--network", self.name, "--network-alias", "rabbitmq"]
        line = ["--interactive", "--workdir", "/opt", *self._volumes("", "/data"), IMAGE, "python", "station_agent.py"]
        container = self._create(*options, *network, *line)
        package = {f"chaoskit/tap/{path.name}": path.read_bytes() for path in _PACKAGE.glob("*.py")}
        own = {
            "chaoskit/__init__.py": b"",
            "station_agent.py": Path(__file__).with_name("station_agent.py").read_bytes(),
        }
        docker("cp", "-", f"{container}:/opt", given=_archive(package | own))
        shared = {"launcher.py": (_PACKAGE / "launcher.py").read_bytes(), "program.py": program.read_bytes()}
        docker("cp", "-", f"{container}:/tap", given=_archive(shared))
        self.agents.append(Agent(container))
        return self.agents[-1]

    def address_of(self, agent: Agent) -> str:
        """The agent's address in the network."""
        return docker(
            "inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{self.name}").IPAddress}}}}', agent.container
        ).strip()

    def start(self, *arguments: str, options: tuple[str, ...] = (), before: tuple[str, ...] = LAUNCHER) -> str:
        """Start the program with these arguments, under the launcher unless something else stands before it."""
        network = ["--network", self.name]
        command = [IMAGE, *before, "python", "-I", "-S", "/tap/program.py", *arguments]
        container = self._create(*network, *self._volumes(":ro", DATA), *options, *command)
        docker("start", container)
        return container

    def close(self) -> None:
        for agent in self.agents:
            agent.close()
        if self.containers:
            docker("rm", "--force", "--volumes", *self.containers)
        docker("volume", "rm", "--force", f"{self.name}-tap", f"{self.name}-data")
        docker("network", "rm", self.name)


def exit_code(container: str) -> int:
    """The exit code of a container that ends by itself."""
    return int(docker("wait", container))


def output_of(container: str) -> str:
    """What it printed, both streams."""
    done = subprocess.run(["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout.decode()


def live(
    rig: Rig,
    agent: Agent,
    *arguments: str,
    orders: tuple[Order, ...] = (),
    life: int = 0,
    root: str = DATA,
    data: str = "/data",
    broker: tuple[tuple[str, int], ...] = (("rabbitmq", BROKER_PORT),),
    **options: Any,
) -> Life:
    """One life of the program, from its start to its end."""
    expected = {"root": root, "data": data, "life": life, "broker": broker}
    agent.ask("expect", orders=[order.to_json() for order in orders], **expected)
    container = rig.start(*arguments, **options)
    reports = agent.reports_until_ended()
    return Life(exit_code(container), output_of(container), reports)
