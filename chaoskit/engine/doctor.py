"""What chaoskit needs of a machine, looked at one by one: is it there, why not, and one command that mends it.

It mends nothing. Each look is independent of the others and takes at most a few seconds.
"""

import importlib
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from chaoskit.engine import control, leftovers, upfile, wiring

_LEAST_FREE_BYTES = 100 * 1024 * 1024
_DOCKER_S = 5.0
_LATER = "not used yet: this version runs programs as processes of this machine (the local runtime)"
_GET_DOCKER = "curl -fsSL https://get.docker.com | sh"
Status = Literal["ok", "missing", "broken"]


class Finding(msgspec.Struct, frozen=True):
    """One look. `needed`: without it `chaoskit run` cannot work here. `mend` is a command, empty when all is well."""

    name: str
    status: Status
    detail: str
    needed: bool
    mend: str = ""


def examine() -> list[Finding]:
    """All looks, the needed ones first."""
    return [look() for look in _LOOKS]


def can_run(findings: list[Finding]) -> bool:
    """Whether `chaoskit run` works here."""
    return all(finding.status == "ok" for finding in findings if finding.needed)


def _python() -> Finding:
    # An older Python refuses to install this package, so what runs this line is new enough.
    return Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})", True)


def _pika() -> Finding:
    mend = f"{sys.executable} -m pip install 'pika>=1.3.2,<2'"
    try:
        importlib.import_module("pika")
        return Finding("pika", "ok", importlib.metadata.version("pika"), True)
    except ImportError as e:
        return Finding("pika", "missing", f"the bundled scenarios speak AMQP with it: {e}", True, mend)


def _pidfd() -> Finding:
    if sys.platform != "linux":
        return Finding("process ends", "ok", f"{sys.platform}: awaited by threads", True)
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as e:
        why = f"pidfd_open does not work ({e.strerror}): Linux 5.3 or newer is needed"
        return Finding("process ends", "broken", why, True, "uname -r")
    return Finding("process ends", "ok", "pidfds", True)


def _disk() -> Finding:
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here) as file:
            file.write(b"\0")
        free = shutil.disk_usage(here).free
    except OSError as e:
        return Finding("disk", "broken", f"{here} cannot be written: {e.strerror}", True, "cd to a directory of yours")
    if free < _LEAST_FREE_BYTES:
        return Finding("disk", "broken", f"{free / 1e6:.0f} MB free in {here}, 100 are needed", True, "df -h .")
    return Finding("disk", "ok", f"{free / 1e9:.1f} GB free in {here}", True)


def _loopback() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_DOCKER_S)
            with socket.create_connection(server.getsockname(), timeout=_DOCKER_S) as client:
                client.sendall(b"\0")
                accepted, _ = server.accept()
                with accepted:
                    accepted.recv(1)
    except OSError as e:
        return Finding("loopback", "broken", f"127.0.0.1: {e.strerror or e}", True, "ip link set lo up")
    return Finding("loopback", "ok", "ports of 127.0.0.1 can be listened on and reached", True)


def _kernel() -> Finding:
    return Finding("kernel", "ok", f"{platform.system()} {platform.release()} ({platform.machine()})", False)


def _tap() -> Finding:
    reason = wiring.tap_unavailable()
    if reason is None:
        return Finding("tap", "ok", "system calls can be intercepted (seccomp user notification)", False)
    mend = "docker run --security-opt seccomp=unconfined ..." if sys.platform == "linux" else "limactl start"
    detail = f"{reason}; kills fall on messages and log lines instead"
    return Finding("tap", "missing", detail, False, mend)


def _control() -> Finding:
    lengths = [len(os.fsencode(str(base))) for base in control.bases() if os.access(base, os.W_OK)]
    if not lengths:
        detail = "no temporary directory can be written: `chaoskit up` has no place for its socket"
        return Finding("control socket", "broken", detail, False, "export TMPDIR=$HOME/tmp; mkdir -p $TMPDIR")
    return Finding("control socket", "ok", f"below {control.bases()[0]}", False)


def _leftovers() -> Finding:
    orphans, sockets, found = leftovers.orphans(), control.stale_directories(), upfile.look()
    parts = [f"{len(orphans)} processes of a chaoskit that is gone"] if orphans else []
    parts += ["the file of a pipeline whose chaoskit is gone"] if found and not found.alive else []
    parts += [f"{len(sockets)} old control sockets"] if sockets else []
    if parts:
        return Finding("leftovers", "broken", ", ".join(parts), False, "chaoskit clean")
    return Finding("leftovers", "ok", "none", False)


def _docker() -> Finding:
    if shutil.which("docker") is None:
        return Finding("Docker engine", "missing", _LATER, False, _GET_DOCKER)
    version, problem = _ask("docker", "version", "--format", "{{.Server.Version}}")
    if problem:
        denied = "permission denied" in problem.lower()
        mend = "sudo usermod -aG docker $USER" if denied else "sudo systemctl start docker"
        return Finding("Docker engine", "broken", f"{problem}; {_LATER}", False, mend)
    return Finding("Docker engine", "ok", f"{version}; {_LATER}", False)


def _compose() -> Finding:
    mend = "sudo apt-get install docker-compose-plugin"
    if shutil.which("docker") is None:
        return Finding("Docker Compose v2", "missing", _LATER, False, _GET_DOCKER)
    version, problem = _ask("docker", "compose", "version", "--short")
    if problem:
        return Finding("Docker Compose v2", "missing", f"{problem}; {_LATER}", False, mend)
    return Finding("Docker Compose v2", "ok", f"{version}; {_LATER}", False)


def _ask(*command: str) -> tuple[str, str]:
    """What the command says, and what is wrong: one of the two is empty."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_DOCKER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return "", f"{command[0]} does not answer: {e}"
    if done.returncode == 0 and done.stdout.strip():
        return done.stdout.strip().splitlines()[0], ""
    lines = done.stderr.strip().splitlines()
    return "", lines[0] if lines else f"{' '.join(command)} ended with code {done.returncode}"


_LOOKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _pika,
    _pidfd,
    _disk,
    _loopback,
    _kernel,
    _tap,
    _control,
    _leftovers,
    _docker,
    _compose,
)
