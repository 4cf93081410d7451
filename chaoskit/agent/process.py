"""Processes of this machine: one that can be signalled (never another that got its number), and who listens on a port.

The first process of a container is often a shell that hands no signal on, so the one to ask is the one that listens.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"


class Process:
    """The process `pid`, or none that we know of (0). `close` gives its descriptor back."""

    def __init__(self, pid: int = 0) -> None:
        self.pid = pid
        self._pidfd: int | None = None
        with suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(pid) if pid else None

    def send(self, number: int) -> None:
        """Signal it; one that has ended is left alone. All processes of a container die with the first one."""
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Forget it."""
        pidfd, self._pidfd = self._pidfd, None
        if pidfd is not None:
            os.close(pidfd)


def listener(port: int, beside: int) -> int | None:
    """The process that listens on a TCP port in the network namespace of the process `beside`; None when none does."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port, beside)}
    for pid in _pids() if sockets else ():
        if any(link in sockets for link in _links(pid)):
            return pid
    return None


def _listening_inodes(port: int, beside: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / str(beside) / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _links(pid: int) -> Iterator[str]:
    # A process may end, and close its descriptors, while we look.
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                yield os.readlink(entry)
