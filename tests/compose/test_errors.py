"""What is wrong with the engine, the images or a container is told in one line, with exit code 3, and nothing stays.

And engines elsewhere: over TCP and behind a context, where nothing of this machine can be mounted.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import yaml

from chaoskit.runtime.compose import labels

from .commands import Chaoskit, Finished, wait_until
from .forwarding import Forwarding
from .planting import planted

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("engine")]

RUN = ("run", "stateful", "--kills", "1", "--runtime", "compose", "--seed", "6")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# Reads all files, so that the interpreter can be started wherever it is installed, and may write to none.
READER = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def told(done: Finished) -> str:
    """The one line of a command that could not do its work."""
    assert done.code == 3, done.text
    lines = [line for line in done.err.splitlines() if line.startswith("chaoskit: ")]
    assert len(lines) == 1, done.text
    assert done.err.strip().splitlines()[-1] == lines[0]
    return lines[0].removeprefix("chaoskit: ")


@pytest.mark.parametrize("command", [RUN, ("explore", "stateful", "--runtime", "compose")])
def test_an_engine_that_is_not_running(chaoskit: Chaoskit, command: tuple[str, ...]) -> None:
    chaoskit.variables["DOCKER_HOST"] = "unix:///nonexistent"
    expected = "no Docker engine answers at unix:///nonexistent: start it (`sudo systemctl start docker`)"
    assert told(chaoskit(*command)).startswith(expected)


def test_no_permission_on_the_socket_of_the_engine(chaoskit: Chaoskit) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody who may not use the socket")
    chaoskit.directory.chmod(0o777)
    chaoskit.variables["DOCKER_CONFIG"] = str(chaoskit.directory)
    line = told(chaoskit(*RUN, front=(*NOBODY, *READER)))
    assert line.startswith("permission denied on the socket of the Docker engine: `sudo usermod -aG docker $USER`")


@pytest.mark.parametrize(
    ("compose", "expected"),
    [
        ("echo \"docker: 'compose' is not a docker command.\" >&2; exit 1", "Docker Compose v2 is missing: install it"),
        ("echo 1.29.2", "Docker Compose 1.29.2 is too old: 2.23.1 or newer is needed"),
    ],
)
def test_compose_that_is_missing_or_too_old(chaoskit: Chaoskit, tmp_path: Path, compose: str, expected: str) -> None:
    real = shutil.which("docker")
    stub = tmp_path / "bin" / "docker"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nif [ "$1" = compose ]; then {compose}; exit; fi\nexec {real} "$@"\n')
    stub.chmod(0o755)
    chaoskit.variables["PATH"] = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    assert told(chaoskit(*RUN)).startswith(expected)


def test_an_image_that_cannot_be_pulled(chaoskit: Chaoskit) -> None:
    chaoskit.variables["RABBITMQ_IMAGE"] = "no.registry.invalid/rabbitmq:1"
    line = told(chaoskit(*RUN))
    assert line.startswith("making the containers: an image cannot be pulled: ")
    assert "no.registry.invalid" in line


def test_a_broker_that_ends_at_once(chaoskit: Chaoskit) -> None:
    chaoskit.variables["RABBITMQ_IMAGE"] = "debian:trixie-slim"
    assert told(chaoskit(*RUN)) == "rabbitmq ended with code 0: it printed nothing"


def test_a_service_that_never_becomes_healthy(chaoskit: Chaoskit) -> None:
    scenario = planted("stateful/s01_ack_before_append.py", chaoskit.directory / "bug")
    check = {"test": ["CMD", "sh", "-c", "echo not today; exit 1"], "interval": "200ms", "retries": 2}
    override = yaml.safe_load((chaoskit.directory / "bug" / "override.yaml").read_text())
    override["services"]["rabbitmq"] = {"healthcheck": check}
    (chaoskit.directory / "bug" / "override.yaml").write_text(yaml.safe_dump(override))
    done = chaoskit("run", str(scenario), "--runtime", "compose")
    assert told(done) == "rabbitmq is unhealthy: its check says 'not today'"


@pytest.mark.soak
def test_an_image_without_python_for_the_agent(chaoskit: Chaoskit) -> None:
    chaoskit.variables["CHAOSKIT_AGENT_IMAGE"] = "debian:trixie-slim"
    line = told(chaoskit(*RUN))
    assert line.startswith("the agent did not come up: ")
    assert '"python": executable file not found' in line


def test_a_build_that_fails_shows_its_last_lines(chaoskit: Chaoskit) -> None:
    scenario = planted("stateful/s01_ack_before_append.py", chaoskit.directory / "bug")
    (scenario.parent / "broken.py").write_text("def unfinished(:\n")
    line = told(chaoskit("run", str(scenario), "--runtime", "compose"))
    assert line.startswith("making the containers: ")
    assert "the last lines of the build: " in line
    assert "/app/broken.py" in line and "SyntaxError" in line


def test_a_disk_that_is_full_in_a_build(chaoskit: Chaoskit) -> None:
    scenario = planted("stateful/s01_ack_before_append.py", chaoskit.directory / "bug")
    (scenario.parent / "Dockerfile").write_text("FROM python:3.13-slim\nRUN cat /etc/passwd > /dev/full\n")
    override = {"services": {"worker-2": {"build": {"context": str(scenario.parent), "dockerfile": "Dockerfile"}}}}
    (chaoskit.directory / "bug" / "override.yaml").write_text(yaml.safe_dump(override))
    assert "No space left on device" in told(chaoskit("run", str(scenario), "--runtime", "compose"))


# --- in the middle of a run ---


@pytest.fixture
def mine(client: docker.DockerClient, chaoskit: Chaoskit) -> Callable[[str], str]:
    """Finds the running container of a service of the command under test by a part of its name; waits for it."""

    def find(part: str) -> str:
        found: list[str] = []

        def look() -> list[str]:
            running = [it for it in client.api.containers() if it["Labels"].get(labels.OWNER) in chaoskit.owners]
            found.extend(str(it["Id"]) for it in running if part in it["Names"][0])
            return found

        wait_until(f"the container of {part}", look)
        return found[0]

    return find


def paused(chaoskit: Chaoskit) -> bool:
    """Whether the run that goes on has come to its first fault."""
    journal = chaoskit.directory / ".chaoskit" / "latest" / "journal.jsonl"
    return journal.is_file() and '"type":"fault"' in journal.read_text()


def in_the_middle(chaoskit: Chaoskit, act: Callable[[], None]) -> Finished:
    """A run that is paused for long, and what is done to it then; how it ended, and that it says one thing about it."""
    step = {"pause": "worker-2", "at": {"log": "Waiting for chunks"}, "for_s": 50}
    (chaoskit.directory / "plan.yaml").write_text(yaml.safe_dump({"steps": [step]}))
    process = chaoskit.popen("run", "stateful", "--plan", "plan.yaml", "--no-control", "--runtime", "compose", "--json")
    try:
        wait_until("the pause", lambda: paused(chaoskit), 90)
        act()
    except BaseException:
        process.terminate()
        raise
    finally:
        done = chaoskit.finish(process, 120)
    assert done.code == 3, done.text
    return done


def lost(done: Finished) -> str:
    """What a run says was lost."""
    [text] = [finding["text"] for finding in done.report["findings"] if finding["check"] == "environment"]
    assert text in done.report["sentence"]
    return str(text)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("-agent", "the agent lost: its container ended with code 137"),
        pytest.param("rabbitmq", "broker lost: broker.chaoskit.internal:5672: ", marks=pytest.mark.soak),
    ],
)
def test_what_chaoskit_provides_is_killed_by_somebody_else(
    client: docker.DockerClient, chaoskit: Chaoskit, mine: Callable[[str], str], part: str, said: str
) -> None:
    assert lost(in_the_middle(chaoskit, lambda: client.api.kill(mine(part)))).startswith(said)


@pytest.mark.soak
def test_the_container_of_a_program_is_removed_by_somebody_else(
    client: docker.DockerClient, chaoskit: Chaoskit, mine: Callable[[str], str]
) -> None:
    done = in_the_middle(chaoskit, lambda: client.api.remove_container(mine("worker-3-run"), force=True))
    assert lost(done).startswith("worker-3 lost: starting: No such container")


def test_an_engine_that_goes_away_in_the_middle_and_comes_back(chaoskit: Chaoskit, tmp_path: Path) -> None:
    engine = Forwarding(tmp_path / "engine.sock")
    chaoskit.variables["DOCKER_HOST"] = engine.url
    back = threading.Timer(3.0, engine.start)

    def restart() -> None:
        engine.stop()
        back.start()

    done = in_the_middle(chaoskit, restart)
    back.join()
    engine.stop()
    assert "the Docker engine does not answer any more: was it stopped or restarted?" in lost(done)


# --- engines elsewhere ---


@pytest.fixture
def elsewhere() -> Iterator[Forwarding]:
    made = Forwarding()
    yield made
    made.stop()


def test_an_engine_on_another_machine_gets_nothing_of_this_one_mounted(
    client: docker.DockerClient, chaoskit: Chaoskit, elsewhere: Forwarding
) -> None:
    chaoskit.variables["DOCKER_HOST"] = elsewhere.url
    steps = [
        {"pause": "worker-2", "at": {"log": "Waiting for chunks"}, "for_s": 3},
        {"kill": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 2, "byte": 5}},
    ]
    (chaoskit.directory / "plan.yaml").write_text(yaml.safe_dump({"steps": steps}))
    process = chaoskit.popen("run", "stateful", "--plan", "plan.yaml", "--no-control", "--runtime", "compose", "--json")
    wait_until("the pause", lambda: paused(chaoskit), 90)
    running = [it for it in client.api.containers() if it["Labels"].get(labels.OWNER) in chaoskit.owners]
    done = chaoskit.finish(process)
    assert done.code == 0, done.text
    assert done.points[1] == ("worker-2/0/write:metadata/CLI1.csv#2@5", 5)
    assert len(running) >= 3
    assert {mount["Type"] for container in running for mount in container["Mounts"]} == {"volume"}


@pytest.mark.soak
def test_an_engine_behind_a_context(chaoskit: Chaoskit, elsewhere: Forwarding, tmp_path: Path) -> None:
    chaoskit.variables["DOCKER_CONFIG"] = str(tmp_path / "docker-config")
    create = ["docker", "context", "create", "there", "--docker", f"host={elsewhere.url}"]
    subprocess.run(create, env=chaoskit.environment(), check=True, capture_output=True, timeout=30)
    chaoskit.variables["DOCKER_CONTEXT"] = "there"
    done = chaoskit.green("run", "stateful", "--kills", "2", "--runtime", "compose", "--seed", "8")
    assert len(done.points) == 2
