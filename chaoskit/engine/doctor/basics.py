"""The looks at what every run needs, and at what killed runs left behind."""

import contextlib
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from chaoskit.engine import control, leftovers, upfile
from chaoskit.engine.doctor.finding import Finding

_LEAST_FREE_BYTES = 100 * 1024 * 1024
_LEAST_MEMORY_BYTES = 200 * 1024 * 1024
_LOOPBACK_S = 5.0
_CGROUP = Path("/sys/fs/cgroup")
# The limit of the container and what is used of it, in cgroups of version 2 and of version 1.
_LIMITS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB", re.M)


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


def _memory() -> Finding:
    free = available_bytes(Path("/proc/meminfo"), _CGROUP)
    if free is None:
        return Finding("memory", "ok", f"not measured on {sys.platform}", False)
    if free < _LEAST_MEMORY_BYTES:
        detail = f"{free / 1e6:.0f} MB available, a run takes 200: explore with one job, `--jobs 1`"
        return Finding("memory", "broken", detail, False, "ps aux --sort=-rss | head")
    return Finding("memory", "ok", f"{free / 1e9:.1f} GB available", False)


def available_bytes(meminfo: Path, cgroup: Path) -> int | None:
    """What processes can still have: of the machine, or of the container's limit where that is less. None: unknown."""
    try:
        match = _AVAILABLE.search(meminfo.read_text())
    except OSError:
        return None
    found = [1024 * int(match[1])] if match else []
    for limit, used in _LIMITS:
        # No such files, or a limit of `max`: then the machine's own is the limit.
        with contextlib.suppress(OSError, ValueError):
            found.append(int((cgroup / limit).read_text()) - int((cgroup / used).read_text()))
    return min(found, default=None)


def _loopback() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_LOOPBACK_S)
            with socket.create_connection(server.getsockname(), timeout=_LOOPBACK_S) as client:
                client.sendall(b"\0")
                accepted, _ = server.accept()
                with accepted:
                    accepted.recv(1)
    except OSError as e:
        return Finding("loopback", "broken", f"127.0.0.1: {e.strerror or e}", True, "sudo ip link set lo up")
    return Finding("loopback", "ok", "ports of 127.0.0.1 can be listened on and reached", True)


def _control() -> Finding:
    lengths = [len(os.fsencode(str(base))) for base in control.bases() if os.access(base, os.W_OK)]
    if not lengths:
        detail = "no temporary directory can be written: `chaoskit up` has no place for its socket"
        return Finding("control socket", "broken", detail, False, "export TMPDIR=$HOME/tmp; mkdir -p $TMPDIR")
    return Finding("control socket", "ok", f"below {control.bases()[0]}", False)


def leftovers_found(engine_answers: bool) -> Finding:
    """What `chaoskit clean` would remove, here and on an engine that answers."""
    orphans, sockets, found = leftovers.orphans(), control.stale_directories(), upfile.look()
    parts = [f"{len(orphans)} processes of a chaoskit that is gone"] if orphans else []
    parts += ["the file of a pipeline whose chaoskit is gone"] if found and not found.alive else []
    parts += [f"{len(sockets)} old control sockets"] if sockets else []
    parts += leftovers.on_engine() if engine_answers else []
    if parts:
        return Finding("leftovers", "broken", ", ".join(parts), False, "chaoskit clean")
    return Finding("leftovers", "ok", "none", False)


LOOKS: tuple[Callable[[], Finding], ...] = (_python, _pika, _pidfd, _disk, _loopback, _memory, _control)
