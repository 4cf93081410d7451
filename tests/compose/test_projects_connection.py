"""The way to the engine: which one is meant, why there is none, what errors mean, and an end without traces."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose import engine as engines

pytestmark = pytest.mark.usefixtures("engine")

SOCKET = "/var/run/docker.sock"
_NOBODY = 65534


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No engine is chosen by the environment, but for those that a test chooses."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))


def test_an_engine_that_answers_is_no_problem() -> None:
    assert engines.unavailable() is None
    with_numbers, compose = engines.versions()
    assert with_numbers[0].isdigit()
    assert compose[0].isdigit()
    client = engines.connect()
    assert client.ping()
    client.close()


def test_without_a_docker_command_the_problem_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = engines.unavailable()
    assert problem is not None
    assert problem.startswith("there is no `docker` command: install Docker with Compose v2")
    with pytest.raises(EnvironmentProblem, match="there is no `docker` command"):
        engines.connect()


@pytest.mark.parametrize("host", ["unix:///none/docker.sock", "tcp://127.0.0.1:1"])
def test_an_engine_that_is_not_running_is_named(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    expected = f"no Docker engine answers at {host}: start it (`sudo systemctl start docker`) or set DOCKER_HOST"
    assert engines.unavailable() == expected
    with pytest.raises(EnvironmentProblem) as failed:
        engines.connect()
    assert str(failed.value) == expected


def test_an_engine_that_never_answers_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(engines, "_ASK_S", 1.0)
        began_s = time.monotonic()
        problem = engines.unavailable()
        assert problem is not None
        assert "did not answer in 1 s" in problem
        assert time.monotonic() - began_s < 8


def test_a_context_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    assert engines.unavailable() == "there is no Docker context nowhere: see `docker context ls`"


def as_nobody() -> str | None:
    os.environ["DOCKER_CONFIG"] = "/nonexistent"
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    return engines.unavailable()


def test_a_socket_that_may_not_be_used_says_how_to_get_the_permission() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody who may not use the socket")
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        problem = pool.submit(as_nobody).result(timeout=30)
    assert problem is not None
    assert problem.startswith("permission denied on the socket of the Docker engine: `sudo usermod -aG docker")


def compose_that_says(version: str, folder: Path) -> None:
    """A Compose of another version, where the `docker` command looks for it first."""
    plugins = folder / "docker-config" / "cli-plugins"
    plugins.mkdir(parents=True)
    plugin = plugins / "docker-compose"
    metadata = '{"SchemaVersion":"0.1.0","Vendor":"x","Version":"x","ShortDescription":"x"}'
    plugin.write_text(f"#!/bin/sh\n[ $1 = docker-cli-plugin-metadata ] && echo '{metadata}' || {version}\n")
    plugin.chmod(0o755)


def test_a_compose_that_is_too_old_is_told(tmp_path: Path) -> None:
    compose_that_says("echo 2.10.2", tmp_path)
    problem = engines.unavailable()
    assert problem is not None
    assert problem.startswith("Docker Compose 2.10.2 is too old: 2.23.1 or newer is needed")


def test_a_compose_that_does_not_work_is_told(tmp_path: Path) -> None:
    compose_that_says("{ echo it is broken >&2; exit 3; }", tmp_path)
    assert engines.unavailable() == "`docker compose version` fails: it is broken"


@pytest.fixture
def forwarded() -> Iterator[int]:
    """A TCP port of the loopback that leads to the engine's socket."""
    server = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def both(near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(SOCKET)
            back = threading.Thread(target=pump, args=(far, near), daemon=True)
            back.start()
            pump(near, far)
            back.join()

    def serve() -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=both, args=(near,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def bridges() -> str:
    """The processes of bridges that this process started."""
    return subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "dial-stdio"], capture_output=True, text=True).stdout


def test_an_engine_that_only_the_docker_command_reaches_is_used_through_it(
    monkeypatch: pytest.MonkeyPatch, forwarded: int, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{forwarded}")
    # The path of a socket is short, and the tests' own directories are deep.
    directory = Path(tempfile.mkdtemp(prefix="ck-"))
    request.addfinalizer(lambda: shutil.rmtree(directory))
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    assert not engines.is_local()
    client = engines.connect()
    assert client.version()["Os"] == "linux"
    container = client.containers.create(
        "python:3.13-slim", ["python", "-c", "print('lines ' * 20000)"], network_mode="none"
    )
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0
        assert len(container.logs()) > 100_000
    finally:
        container.remove(force=True)
        client.close()
    assert bridges() == ""
    assert list(directory.iterdir()) == []
    client.close()


def test_an_engine_behind_ssh_is_reached_with_the_ssh_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Stands for the other machine: what ssh was asked to run there runs here.
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift 2; unset DOCKER_HOST; exec "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://someone@elsewhere")
    assert engines.unavailable() is None
    client = engines.connect()
    assert client.ping()
    client.close()
    assert bridges() == ""


def test_a_context_is_followed(monkeypatch: pytest.MonkeyPatch, forwarded: int) -> None:
    create = ["docker", "context", "create", "there", "--docker", f"host=tcp://127.0.0.1:{forwarded}"]
    subprocess.run(create, check=True, capture_output=True, timeout=30)
    monkeypatch.setenv("DOCKER_CONTEXT", "there")
    assert not engines.is_local()
    client = engines.connect()
    assert client.ping()
    client.close()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "write /var/lib/docker/x: no space left on device",
            "making it: the disk of the Docker engine is full: `docker system df`",
        ),
        (
            "driver failed programming external connectivity: Bind for 0.0.0.0:5672 failed: port is already allocated",
            "making it: port 0.0.0.0:5672 of the engine's host is taken: stop what listens there",
        ),
        (
            "failed to create network: Pool overlaps with other one on this address space",
            "making it: the engine has no free subnet for a network of the run",
        ),
        (
            "pull access denied for mine, repository does not exist or may require 'docker login'",
            "making it: an image cannot be pulled: pull access denied for mine, repository does not exist",
        ),
        (
            "toomanyrequests: You have reached your pull rate limit.",
            "making it: an image cannot be pulled: toomanyrequests: You have reached",
        ),
        ("exec /app/run: exec format error", "making it: an image is made for another kind of processor"),
        ("two\nlines", "making it: two lines"),
    ],
)
def test_words_of_the_engine_become_one_line_that_says_what_to_do(said: str, expected: str) -> None:
    line = str(engines.problem_in(said, "making it"))
    assert line.startswith(expected)
    assert "\n" not in line


def test_an_engine_that_goes_away_in_the_middle_is_told(monkeypatch: pytest.MonkeyPatch, forwarded: int) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{forwarded}")
    client = engines.connect()
    assert client.ping()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    client.api.close()
    gone = "reading: the Docker engine does not answer any more: was it stopped"
    with pytest.raises(EnvironmentProblem, match=gone), engines.problems("reading"):
        client.containers.list()
    client.close()


def test_a_temporary_directory_with_a_long_name_is_no_place_for_a_socket(
    monkeypatch: pytest.MonkeyPatch, forwarded: int, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{forwarded}")
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    client = engines.connect()
    try:
        assert client.version()["Os"] == "linux"
    finally:
        client.close()
