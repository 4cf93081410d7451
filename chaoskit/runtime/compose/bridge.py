"""A socket of this machine that leads to an engine which only the `docker` command knows how to reach.

Over ssh, with TLS, through a context: every connection gets a `docker system dial-stdio` of its own, with the
connection as its input and output, so no byte passes through this process. It speaks no Docker itself.
"""

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from chaoskit.runtime.processes import identity

_PREFIX = "chaoskit-engine-"
# The path of a socket has at most 103 bytes on macOS, and up to 45 of them are ours.
_LONGEST_BASE_BYTES = 58
_BACKLOG = 16
_ENDING_S = 2.0


class Bridge:
    """Listens on a socket in a directory of its own until it is closed. `url` is what a Docker client connects to."""

    def __init__(self) -> None:
        base = next(base for base in _bases() if len(os.fsencode(base)) <= _LONGEST_BASE_BYTES)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
        path = self._folder / "docker.sock"
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(os.fspath(path))
        self._server.listen(_BACKLOG)
        self._lock = threading.Lock()
        self._open = True
        self._dials: list[subprocess.Popen[bytes]] = []
        self._accepting = threading.Thread(target=self._accept, name="chaoskit-engine-bridge", daemon=True)
        self._accepting.start()
        self.url = f"unix://{path}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self._dial(connection)

    def _dial(self, connection: socket.socket) -> None:
        with self._lock:
            self._dials = [dial for dial in self._dials if dial.poll() is None]
            if not self._open:
                return
            # Not even a `docker` that cannot be started may end the thread: the next connection may have better luck.
            with contextlib.suppress(OSError):
                self._dials.append(
                    subprocess.Popen(
                        ["docker", "system", "dial-stdio"],
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                )

    def close(self) -> None:
        """End every connection and remove the socket. Nothing happens the second time."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._accepting.join(_ENDING_S)
        for dial in self._dials:
            dial.terminate()
        for dial in self._dials:
            _end(dial)
        shutil.rmtree(self._folder, ignore_errors=True)


def stale() -> list[Path]:
    """The directories of bridges of this user whose process is no more; none where there is no /proc to tell."""
    if sys.platform != "linux":
        return []
    found = (path for base in _bases() for path in Path(base).glob(f"{_PREFIX}[0-9]*-*"))
    return [path for path in found if _is_mine(path) and identity(_pid_of(path)) is None]


def _bases() -> list[str]:
    """Where the directories are: the temporary directory, or, where that has too long a name for a socket, /tmp."""
    return list(dict.fromkeys([tempfile.gettempdir(), "/tmp"]))


def _is_mine(path: Path) -> bool:
    status = path.stat(follow_symlinks=False)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _pid_of(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX).partition("-")[0])


def _end(dial: subprocess.Popen[bytes]) -> None:
    try:
        dial.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        dial.kill()
        dial.wait()
