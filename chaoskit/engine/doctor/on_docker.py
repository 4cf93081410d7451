"""The looks at Docker: its engine, Compose, and the disk of the engine. Only runs on Compose need them."""

import re
import shutil
import subprocess
from pathlib import Path

from chaoskit.engine.doctor.finding import Finding

_ENGINE, _COMPOSE, _ENGINE_DISK = "Docker engine", "Docker Compose v2", "engine's disk"
NAMES = (_ENGINE, _COMPOSE, _ENGINE_DISK)
_FOR = "only `--runtime compose` needs it"
_GET_DOCKER = "curl -fsSL https://get.docker.com | sh"
_LEAST_FREE_BYTES = 2 * 1024**3
_ASK_S = 8.0
# The first pattern that is found in what is wrong names the command that mends it.
_MENDS = (
    ("no `docker` command|is too old", _GET_DOCKER),
    ("permission denied", "sudo usermod -aG docker $USER && newgrp docker"),
    ("no Docker engine answers", "sudo systemctl start docker"),
    ("no Docker context", "docker context use default"),
    ("Compose v2 is missing", "sudo apt-get install docker-compose-plugin"),
    ("did not answer", "sudo systemctl restart docker"),
)


def findings() -> list[Finding]:
    """Engine, Compose, and the engine's disk where it can be seen from here."""
    if shutil.which("docker") is None:
        detail = f"there is no `docker` command; {_FOR}"
        return [Finding(name, "missing", detail, False, _GET_DOCKER) for name in (_ENGINE, _COMPOSE)]
    # The Docker SDK takes a moment to import, and is of use only where there is a `docker` command.
    from chaoskit.runtime.compose import engine

    compose = engine.compose_problem()
    whole = engine.unavailable()
    problem = whole if whole != compose else None
    # An engine that does not answer is asked once: each further question would take its whole time limit.
    version, compose_version = engine.versions() if problem is None else ("", "it can be called")
    found = [_finding(_ENGINE, version, problem), _finding(_COMPOSE, compose_version, compose)]
    return found if problem or not engine.is_local() else [*found, *_disk()]


def answers(found: list[Finding]) -> bool:
    """Whether the engine answered."""
    return any(finding.name == _ENGINE and finding.status == "ok" for finding in found)


def _finding(name: str, version: str, problem: str | None) -> Finding:
    if problem is None:
        return Finding(name, "ok", version, False)
    mend = next((mend for pattern, mend in _MENDS if re.search(pattern, problem)), "docker version")
    return Finding(name, "broken", f"{problem}; {_FOR}", False, mend)


def _disk() -> list[Finding]:
    root = _data_root()
    if not Path(root).is_dir():
        # In a virtual machine, as with Docker Desktop: not to be seen from here.
        return []
    free = shutil.disk_usage(root).free
    if free < _LEAST_FREE_BYTES:
        detail = f"{free / 1e9:.1f} GB free in {root}, images and volumes may need 2; {_FOR}"
        return [Finding(_ENGINE_DISK, "broken", detail, False, "docker system prune")]
    return [Finding(_ENGINE_DISK, "ok", f"{free / 1e9:.1f} GB free in {root}", False)]


def _data_root() -> str:
    command = ["docker", "info", "--format", "{{.DockerRootDir}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
