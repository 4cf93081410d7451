"""The static launcher in real containers: images with one static program and nothing else, any user, nothing writable.

The supervisor runs in a container beside them, as it does on the compose runtime; only volumes are shared.
"""

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chaoskit import tap
from chaoskit.tap import Rule
from chaoskit.tap.native import launcher

_PYTHON_IMAGE = os.environ.get("PYTHON_IMAGE", "python:3.13-slim")
_REQUIRE = "CHAOSKIT_REQUIRE_DOCKER"
_LIMIT_S = 60.0
_USER_ID = 1000

PROGRAM = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void stop(int signal_number) {
    (void)signal_number;
    int f = open("stopped", O_CREAT | O_WRONLY, 0644);
    _exit(write(f, "in time", 7) == 7 ? 7 : 8);
}

int main(int count, char **arguments) {
    char folder[100];
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%s in %s as %d:%d, process %d of %d\n", arguments[0], getcwd(folder, sizeof folder), getuid(), getgid(),
           getpid(), getppid());
    if (count > 1 && !strcmp(arguments[1], "wait")) {
        signal(SIGTERM, stop);
        puts("waiting");
        for (;;) pause();
    }
    int f = open("f", O_CREAT | O_WRONLY | O_TRUNC, 0640);
    for (int i = 0; i < 3; i++) write(f, "12345\n", 6);
    return fsync(f) ? 1 : 42;
}
"""

# One life: take one launcher in, answer until its program has ended, tell what happened.
STATION = """
import json, select, sys
from pathlib import Path
from chaoskit.tap import Door, Rule, Supervisor, receive

rules = [Rule.from_json(rule) for rule in json.loads(sys.argv[1])]
with Door(Path("/tap/door")) as door:
    print("listening", flush=True)
    select.select([door], [], [])
    channel = door.greet()
    _, listener_fd = receive(channel)
    channel.close()

def tell(event):
    print(json.dumps([type(event).__name__, getattr(event, "point", "")]), flush=True)

supervisor = Supervisor(listener_fd, root=Path("/data"), rules=rules, on_event=tell)
while not supervisor.ended:
    select.select([supervisor], [], [])
    supervisor.step()
"""


def docker(*arguments: str, given: bytes | None = None) -> bytes:
    """The output of a command that must succeed."""
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, timeout=_LIMIT_S)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode()}"
    return done.stdout


@pytest.fixture(scope="module")
def running_engine() -> None:
    """Skips where no engine answers; with CHAOSKIT_REQUIRE_DOCKER=1 it fails instead."""
    problem = "there is no docker command" if shutil.which("docker") is None else None
    if problem is None:
        done = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=_LIMIT_S)
        problem = done.stderr.strip() if done.returncode else None
    if problem is not None and os.environ.get(_REQUIRE) == "1":
        pytest.fail(f"{_REQUIRE}=1 and no engine: {problem}")
    if problem is not None:
        pytest.skip(problem)


def archive(files: dict[str, tuple[bytes | None, int, int]]) -> bytes:
    """A tar of files and (content None) directories: name -> content, mode, owner."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (content, mode, owner) in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.gid = mode, owner, owner
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            tar.addfile(entry, io.BytesIO(content or b""))
    return buffer.getvalue()


def package_files() -> dict[str, tuple[bytes | None, int, int]]:
    folder = Path(tap.__file__ or "").parent
    files = {f"chaoskit/tap/{path.name}": path.read_bytes() for path in folder.glob("*.py")}
    files["chaoskit/__init__.py"] = b""
    return {name: (content, 0o644, 0) for name, content in files.items()}


@pytest.fixture(scope="module")
def image(running_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image from nothing, with one static program and an empty directory for its data."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("image")
    (folder / "app.c").write_text(PROGRAM)
    command = ["gcc", "-static", "-o", str(folder / "app"), str(folder / "app.c")]
    subprocess.run(command, check=True, capture_output=True)
    content = {"bin/app": ((folder / "app").read_bytes(), 0o755, 0), "data": (None, 0o755, _USER_ID)}
    name = f"chaoskit-test-{uuid.uuid4().hex[:12]}"
    docker("import", "--change", "WORKDIR /data", "--change", "ENV PATH=/bin", "-", name, given=archive(content))
    yield name
    docker("image", "rm", "--force", name)


@dataclass
class Place:
    """Two volumes, the containers that share them, and what they are called."""

    image: str
    name: str
    containers: list[str] = field(default_factory=list)
    following: list[subprocess.Popen[str]] = field(default_factory=list)

    def volumes(self, mode: str) -> list[str]:
        return ["--volume", f"{self.name}-tap:/tap{mode}", "--volume", f"{self.name}-data:/data"]

    def container(self, *arguments: str) -> str:
        self.containers.append(docker("create", *arguments).decode().strip())
        return self.containers[-1]

    def prepare(self) -> None:
        """Fill the volumes: the data directory with its owner from the image, the launcher from this package."""
        first = self.container(*self.volumes(""), self.image, "app")
        content = launcher(platform.machine())
        docker("cp", "-", f"{first}:/tap", given=archive({"launcher": (content, 0o755, 0)}))

    def station(self, *rules: Rule) -> subprocess.Popen[str]:
        """A supervisor that waits for one launcher."""
        seen = ["--pid", "host", "--cap-add", "SYS_PTRACE", "--security-opt", "apparmor=unconfined"]
        orders = json.dumps([rule.to_json() for rule in rules])
        line = ["python", "-c", STATION, orders]
        container = self.container(*seen, *self.volumes(""), "--workdir", "/opt", _PYTHON_IMAGE, *line)
        docker("cp", "-", f"{container}:/opt", given=archive(package_files()))
        following = subprocess.Popen(["docker", "start", "--attach", container], stdout=subprocess.PIPE, text=True)
        self.following.append(following)
        assert following.stdout is not None
        assert following.stdout.readline() == "listening\n"
        return following

    def program(self, *command: str, options: tuple[str, ...] = ()) -> str:
        """The program's container, started behind the launcher: as an ordinary user, with nothing to write to."""
        safe = ["--user", f"{_USER_ID}:{_USER_ID}", "--read-only", "--network", "none"]
        launching = ["--entrypoint", "/tap/launcher", *options, self.image, "--socket", "/tap/door", "--"]
        container = self.container(*safe, *self.volumes(":ro"), *launching, *command)
        docker("start", container)
        return container

    def file(self, container: str, path: str) -> tuple[tarfile.TarInfo, str]:
        """A file of a container that may have ended: its entry (owner, mode) and its content."""
        with tarfile.open(fileobj=io.BytesIO(docker("cp", f"{container}:{path}", "-"))) as tar:
            entry = tar.getmembers()[0]
            content = tar.extractfile(entry)
            assert content is not None
            return entry, content.read().decode()

    def close(self) -> None:
        for following in self.following:
            following.kill()
            following.communicate()
        docker("rm", "--force", "--volumes", *self.containers)
        docker("volume", "rm", "--force", f"{self.name}-tap", f"{self.name}-data")


@pytest.fixture
def place(image: str) -> Iterator[Place]:
    made = Place(image, f"chaoskit-test-{uuid.uuid4().hex[:12]}")
    try:
        made.prepare()
        yield made
    finally:
        made.close()


def exit_code(container: str) -> int:
    return int(docker("wait", container))


def logs(container: str) -> str:
    """Both streams, in the order in which they were written where only one was used."""
    done = subprocess.run(["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout.decode()


def told(station: subprocess.Popen[str]) -> list[list[str]]:
    output, _ = station.communicate(timeout=_LIMIT_S)
    assert station.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def wait_for_line(container: str, line: str) -> None:
    end = time.monotonic() + _LIMIT_S
    while line not in logs(container).splitlines():
        assert time.monotonic() < end, logs(container)


def test_a_program_from_nothing_runs_as_it_would_alone_and_its_exit_code_is_passed_on(place: Place) -> None:
    station = place.station()
    container = place.program("app")
    assert exit_code(container) == 42
    assert logs(container) == "app in /data as 1000:1000, process 1 of 0\n"
    points = [point for kind, point in told(station) if kind == "Call"]
    writes = [f"program/0/write:f#{nth}" for nth in (1, 2, 3)]
    assert points == ["program/0/create:f#1", *writes, "program/0/fsync:f#1"]


def test_a_kill_inside_a_write_leaves_exactly_its_bytes_and_the_owner(place: Place) -> None:
    station = place.station(Rule("r", op="write", path="f", nth=2, when="inside", byte=4))
    container = place.program("app")
    assert exit_code(container) == 137
    assert ["Fired", "program/0/write:f#2@4"] in told(station)
    entry, content = place.file(container, "/data/f")
    assert content == "12345\n1234"
    assert (entry.uid, entry.gid, entry.mode) == (_USER_ID, _USER_ID, 0o640)


@pytest.mark.parametrize(("options", "parent"), [((), "0"), (("--init",), "1")])
def test_the_program_handles_its_signals(place: Place, options: tuple[str, ...], parent: str) -> None:
    station = place.station()
    container = place.program("app", "wait", options=options)
    wait_for_line(container, "waiting")
    docker("stop", "-t", "50", container)
    assert exit_code(container) == 7
    _, process, _, found_parent = logs(container).splitlines()[0].rpartition(", ")[2].split()
    assert found_parent == parent
    # With `--init` the engine's init is process 1, else the program itself.
    assert (process == "1") == (parent == "0")
    assert place.file(container, "/data/stopped")[1] == "in time"
    assert ["Call", "program/0/write:stopped#1"] in told(station)


def test_without_a_supervisor_the_program_does_not_start(place: Place) -> None:
    container = place.program("/bin/app")
    assert exit_code(container) == 125
    assert logs(container) == (
        "launcher: cannot start /bin/app under the tap at /tap/door: connecting: no such file or directory; "
        "chaoskit starts the supervisor first: is it there, and is its volume mounted here?\n"
    )


@pytest.mark.parametrize(("command", "code"), [("no-such-app", 127), ("/data", 126)])
def test_a_command_that_the_image_does_not_have_is_told(place: Place, command: str, code: int) -> None:
    container = place.program(command)
    assert exit_code(container) == code
    assert logs(container).startswith(f"launcher: cannot start {command} under the tap at /tap/door: ")


def test_the_launcher_needs_nothing_that_a_hardened_container_lacks(place: Place) -> None:
    station = place.station(Rule("r", op="fsync", path="f", when="before"))
    hardened = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "2", "--memory", "16m")
    assert exit_code(place.program("app", options=hardened)) == 137
    assert ["Fired", "program/0/fsync:f#1"] in told(station)


def test_an_image_with_a_shell_goes_on_through_its_own_entrypoint(place: Place) -> None:
    station = place.station()
    place.image = _PYTHON_IMAGE
    script = "cd /data && echo start > log && exec python -c \"open('log', 'a').write('end')\""
    container = place.program("sh", "-c", script, options=("--tmpfs", "/tmp"))
    assert exit_code(container) == 0, logs(container)
    assert place.file(container, "/data/log")[1] == "start\nend"
    assert ["Call", "program/0/write:log#2"] in told(station)
