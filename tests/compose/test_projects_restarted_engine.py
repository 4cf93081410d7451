"""An engine that is killed and started again in the middle of a run: one of the test's own, never the machine's."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose import command, labels, leftovers, project
from chaoskit.runtime.compose.command import Files
from chaoskit.runtime.compose.engine import connect
from chaoskit.runtime.compose.project import Changes, Needs

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

IMAGE = "python:3.13-slim"
NAME = "chaoskit-00000001"
PROJECT = f"""\
services:
  worker: &sleeper {{image: "{IMAGE}", command: [sleep, infinity], network_mode: none, volumes: ["data:/data", /a]}}
  side: {{<<: *sleeper, volumes: [/a], restart: always}}
  other: {{<<: *sleeper, volumes: [/a]}}
volumes: {{data: }}
"""


def wait_until(what: str, condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
    pause = threading.Event()
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen in {deadline_s:g} s"
        pause.wait(0.1)


class Engine:
    """A dockerd with its own data and socket; in namespaces of its own, so that no bridge of the machine is touched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"unix://{folder}/docker.sock"
        self.start()

    def start(self) -> None:
        for name in ("pid", "exec/containerd/containerd.pid"):
            (self._folder / name).unlink(missing_ok=True)
        paths = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        places = [word for option, name in paths.items() for word in (option, str(self._folder / name))]
        quiet = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--host", self.url]
        with (self._folder / "log").open("ab") as log:
            apart = ["unshare", "--net", "--mount", "dockerd"]
            self._process = subprocess.Popen([*apart, *places, *quiet], stdout=log, stderr=log, start_new_session=True)

    def answers(self) -> bool:
        environment = {**os.environ, "DOCKER_HOST": self.url}
        return subprocess.run(["docker", "version"], env=environment, capture_output=True, timeout=30).returncode == 0

    def end(self, number: int) -> None:
        containerd = int((self._folder / "exec/containerd/containerd.pid").read_text())
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(containerd, number)
        self._process.wait(timeout=60)


@pytest.fixture
def own_engine(engine: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    if shutil.which("dockerd") is None or os.getuid() != 0:
        pytest.skip("an engine of its own needs dockerd and root")
    folder = Path(tempfile.mkdtemp(prefix="chaoskit-engine-test-"))
    image = subprocess.run(["docker", "save", IMAGE], capture_output=True, check=True, timeout=120).stdout
    made = Engine(folder)
    try:
        wait_until("an engine", made.answers)
        monkeypatch.setenv("DOCKER_HOST", made.url)
        subprocess.run(["docker", "load"], input=image, capture_output=True, check=True, timeout=120)
        yield made
    finally:
        made.end(signal.SIGTERM)
        shutil.rmtree(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_whose_engine_was_started_again_leaves_nothing(own_engine: Engine, tmp_path: Path, number: int) -> None:
    (tmp_path / "c.yaml").write_text(PROJECT)
    files = Files((tmp_path / "c.yaml",))
    agent = {"image": IMAGE, "command": ["sleep", "infinity"]}
    needs = {"worker": Needs(data_dir="/data", watched=True)}
    changes = Changes(NAME, NAME, labels.owner(), needs, agent, has_broker=False)
    made = project.transform(asyncio.run(command.resolve(files, {})), changes)

    def up() -> None:
        work = command.compose(
            NAME,
            made.document,
            ["up", "--detach"],
            origin=files,
            environment={},
            on_line=lambda line: None,
            timeout_s=60,
            doing="starting",
        )
        asyncio.run(work)

    up()
    client = connect()
    try:
        found = set(leftovers.find(client, NAME))
        assert len(found) == 7
        own_engine.end(number)
        with pytest.raises(EnvironmentProblem, match="starting: no Docker engine answers at"):
            up()
        again = threading.Timer(1.0, own_engine.start)
        again.start()
        assert {thing.name for thing in leftovers.remove_run(client, NAME)} == {thing.name for thing in found}
        again.join()
        assert leftovers.find(client) == []
        assert client.volumes.list() == []
        assert client.containers.list(all=True) == []
    finally:
        client.close()
