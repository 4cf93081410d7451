"""The Docker engine: a connection to the one that the `docker` command means, why there is none, what its errors mean.

It knows nothing of runs. Which engine is meant (DOCKER_HOST, DOCKER_CONTEXT, the current context) is asked of the
`docker` command, so that chaoskit and `docker compose` always talk to the same one.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose.bridge import Bridge

_ASK_S = 8.0
_CALL_S = 60.0
_CONNECTIONS = 32
# The first Compose with everything that a project of ours uses: `include`, additional build contexts, inline configs.
OLDEST_COMPOSE = (2, 23, 1)
# Engine 20.10: what the Docker SDK and cgroup namespaces need.
OLDEST_API = (1, 41)
_GET_DOCKER = "install Docker with Compose v2 (https://docs.docker.com/engine/install/)"
_NO_COMPOSE = "Docker Compose v2 is missing: install it (`sudo apt-get install docker-compose-plugin`)"


class _Bridged(docker.DockerClient):
    """A client whose connections go through a bridge, which ends with it."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        super().__init__(base_url=bridge.url, **_client_options())

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._bridge.close()


def connect() -> docker.DockerClient:
    """A client of the engine that `docker` means; close it in the end. It may be used by several threads.

    Raises EnvironmentProblem when the engine does not answer.
    """
    host = _host()
    try:
        return docker.DockerClient(base_url=host, **_client_options()) if host.startswith("unix://") else _bridged()
    except ERRORS as e:
        # The `docker` command knows better what is wrong than the first bytes that did not come.
        raise EnvironmentProblem(unavailable() or str(problem_of(e, "connecting to the Docker engine"))) from e


def _bridged() -> docker.DockerClient:
    bridge = Bridge()
    try:
        return _Bridged(bridge)
    except BaseException:
        bridge.close()
        raise


def _client_options() -> dict[str, Any]:
    return {"version": "auto", "timeout": _CALL_S, "max_pool_size": _CONNECTIONS}


def is_local() -> bool:
    """Whether the engine is reached through a socket of this machine. Its processes may still be in a virtual one."""
    return _host().startswith("unix://")


def _host() -> str:
    said, problem = _ask("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    if problem:
        raise EnvironmentProblem(_mended(problem))
    return said.strip()


def unavailable() -> str | None:
    """Why programs cannot be run on Docker Compose here, and what mends it, in one line; None when they can.

    Takes at most a few seconds, whatever the engine does.
    """
    if shutil.which("docker") is None:
        return f"there is no `docker` command: {_GET_DOCKER}"
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(_ask, "version", "--format", "{{json .Server}}")
        compose = compose_problem()
        server, problem = asked.result()
    return _mended(problem) if problem else _server_problem(server) or compose


def versions() -> tuple[str, str]:
    """What the engine and Compose say their versions are; empty for the one that does not answer."""
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(_ask, "version", "--format", "{{.Server.Version}}")
        compose, _ = _ask("compose", "version", "--short")
        return asked.result()[0].strip(), compose.strip()


def _server_problem(answer: str) -> str | None:
    try:
        server = json.loads(answer)
        system, api, version = str(server["Os"]), _numbers(server["ApiVersion"]), server["Version"]
    except (ValueError, KeyError, TypeError):
        return "the Docker engine gives no version: look what `docker version` says"
    if system != "linux":
        return f"the Docker engine runs {system} containers: switch it to Linux containers"
    if api < OLDEST_API:
        return f"the Docker engine {version} is too old: version 20.10 or newer is needed; {_GET_DOCKER}"
    return None


def compose_problem() -> str | None:
    """Why `docker compose` does not work, whatever the engine does; None when it does."""
    said, problem = _ask("compose", "version", "--short")
    if problem:
        known = "is not a docker command" in problem or "unknown" in problem
        return _NO_COMPOSE if known else f"`docker compose version` fails: {problem}"
    if _numbers(said) < OLDEST_COMPOSE:
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        return f"Docker Compose {said.strip()} is too old: {oldest} or newer is needed; {_GET_DOCKER}"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers in front of a version: 2.26.1-4 gives (2, 26, 1)."""
    found = re.match(r"\s*v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _ask(*arguments: str) -> tuple[str, str]:
    """What `docker ARGUMENTS` says, and what is wrong: one of the two is empty."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        return "", f"there is no `docker` command: {_GET_DOCKER}"
    except OSError as e:
        return "", f"the `docker` command cannot be started: {e.strerror or e}"
    except subprocess.TimeoutExpired:
        return "", f"the Docker engine did not answer in {_ASK_S:g} s: look what `docker version` does"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == 0 and done.stdout.strip() not in ("", "null"):
        return done.stdout, ""
    return "", lines[-1] if lines else f"`docker {' '.join(arguments[:2])}` ended with code {done.returncode}"


# --- what errors mean ---

_DENIED = "permission denied on the socket of the Docker engine: `sudo usermod -aG docker $USER`, then log in again"
_FULL = (
    "the disk of the Docker engine is full: `docker system df` shows what is on it, `docker system prune` makes room"
)
# What an engine, Compose or the `docker` command says, and what to tell the user instead; {0} is the first group.
_MEANINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), meaning)
    for pattern, meaning in (
        (r"no space left on device", _FULL),
        (r"permission denied while trying to connect|dial unix \S+: connect: permission denied", _DENIED),
        (
            r"cannot connect to the docker daemon at (\S+?)\.? ",
            "no Docker engine answers at {0}: start it (`sudo systemctl start docker`) or set DOCKER_HOST",
        ),
        (r'context "?([^":\s]+)"?: context not found', "there is no Docker context {0}: see `docker context ls`"),
        (
            r"bind for (\S+) failed: port is already allocated|"
            r"listen (?:tcp|udp)\d? (\S+): bind: address already in use",
            "port {0} of the engine's host is taken: stop what listens there, or take it out of the Compose file",
        ),
        (
            r"pool overlaps with other one on this address space|"
            r"all predefined address pools have been fully subnetted|"
            r"could not find an available, non-overlapping",
            "the engine has no free subnet for a network of the run: stop other projects (`docker network prune`), "
            "or take fixed addresses out of the Compose file",
        ),
        (
            r"the container name \"?([^\"\s]+)\"? is already in use",
            "a container named {0} is there already: `chaoskit clean` removes what a killed run left",
        ),
        (
            r"(?:pull access denied for (\S+?),|manifest for (\S+) not found|manifest unknown|no such host|"
            r"unauthorized|denied: requested access|toomanyrequests|failed to resolve reference \"(\S+?)\")",
            "an image cannot be pulled: {text}",
        ),
        (r"no such image: (\S+)", "the image {0} is not there and was not pulled: `docker pull {0}`"),
        (
            r"exec format error|no matching manifest for \S+",
            "an image is made for another kind of processor than the engine's: {text}",
        ),
        (
            r"error mounting \"?(\S+?)\"? to rootfs|invalid mount config.*source path does not exist: (\S+)",
            "{0} cannot be mounted into a container: is it there on the engine's machine?",
        ),
    )
)


def _mended(text: str) -> str:
    """What is wrong, as one line that says what to do where that is known."""
    line = " ".join(text.split())
    for pattern, meaning in _MEANINGS:
        if found := pattern.search(f"{line} "):
            first = next((group for group in found.groups() if group), "")
            return meaning.replace("{0}", first).replace("{text}", line)
    return line


def problem_in(text: str, doing: str) -> EnvironmentProblem:
    """What Compose or the engine said while we were `doing` something, for the user."""
    meaning = _mended(text)
    return EnvironmentProblem(f"{doing}: {meaning}" if doing else meaning)


def problem_of(error: Exception, doing: str) -> EnvironmentProblem:
    """An error of the Docker SDK as one line for the user."""
    if isinstance(error, docker.errors.APIError):
        return problem_in(str(error.explanation or error), doing)
    if _is_denied(error):
        return EnvironmentProblem(_DENIED)
    if isinstance(error, requests.exceptions.Timeout):
        return EnvironmentProblem(f"{doing}: the Docker engine did not answer in time: look what `docker ps` does")
    if isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError | OSError):
        return EnvironmentProblem(f"{doing}: the Docker engine does not answer any more: was it stopped or restarted?")
    return problem_in(str(error), doing)


def _is_denied(error: BaseException | None) -> bool:
    """Whether a PermissionError of the socket is at the bottom of it."""
    while error is not None:
        if isinstance(error, PermissionError) or "PermissionError" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError)


@contextlib.contextmanager
def problems(doing: str) -> Iterator[None]:
    """Errors of the Docker SDK in the block become an EnvironmentProblem that says what we were `doing`."""
    try:
        yield
    except ERRORS as e:
        raise problem_of(e, doing) from e


def environment() -> dict[str, str]:
    """The environment for the `docker` command: this process's, with output that is made for a file."""
    return {**os.environ, "COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain", "BUILDKIT_PROGRESS": "plain"}
