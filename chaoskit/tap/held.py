"""A held call while it is being decided: the listener that holds it, the program it belongs to, and what it refers to.

Handlers (writes, transfers, files, opens, paths, sends) take a Held and return an Operation, None to let the kernel
go on, or a Refusal.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.tap.kernel import Listener
from chaoskit.tap.names import stable_name
from chaoskit.tap.operation import Operation
from chaoskit.tap.target import Target

_DELETED = " (deleted)"
_FILES = (stat.S_IFREG, stat.S_IFDIR)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer with an errno, and tell why the tap has to."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Blind:
    """Let the kernel go on, and tell what the tap will not see."""

    reason: str


Decision = Operation | Refusal | Blind | None
Handler = Callable[["Held"], Decision]


def int32(register: int) -> int:
    """A C int out of a 64-bit register."""
    register &= 0xFFFFFFFF
    return register - (1 << 32) if register & 0x80000000 else register


def int64(register: int) -> int:
    """A signed 64-bit value (an offset)."""
    return register - (1 << 64) if register & (1 << 63) else register


@dataclass(slots=True)
class Descriptor:
    """A duplicate of one of the caller's descriptors, and what it refers to: a watched file, a socket, or neither.

    `path` is relative to the root, of a regular file or directory that has a name; `socket` is the socket's inode.
    """

    fd: int
    path: str | None
    socket: int

    def close(self) -> None:
        """Give the duplicate back."""
        os.close(self.fd)


class Held:
    """The call that the listener received last, with what handlers need to understand it."""

    def __init__(self, listener: Listener, target: Target, is_broker: Callable[[Descriptor], bool]) -> None:
        self.listener = listener
        self.target = target
        self.is_broker = is_broker
        self._paths: dict[tuple[int, int], str | None] = {}

    def descriptor(self, register: int) -> Descriptor:
        """Take a duplicate of the caller's descriptor and look what it is. Raises OSError (EBADF)."""
        fd = self.target.take_fd(int32(register))
        status = os.fstat(fd)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            return Descriptor(fd, None, status.st_ino)
        # A write to a FIFO or a terminal could wait for ever; a file without a name is nobody's any more.
        if kind not in _FILES or not status.st_nlink:
            return Descriptor(fd, None, 0)
        if status.st_nlink > 1 and kind == stat.S_IFREG:
            return Descriptor(fd, self._look(fd), 0)
        inode = (status.st_dev, status.st_ino)
        if inode not in self._paths:
            self._paths[inode] = self._look(fd)
        return Descriptor(fd, self._paths[inode], 0)

    def _look(self, fd: int) -> str | None:
        link = os.readlink(f"/proc/self/fd/{fd}")
        path = None if link.endswith(_DELETED) else self.target.under_root(link)
        return None if path is None else stable_name(path)

    def watched(self, register: int) -> Descriptor | None:
        """The descriptor if it is a watched file. Raises OSError (EBADF)."""
        found = self.descriptor(register)
        if found.path is not None:
            return found
        found.close()
        return None

    def forget_paths(self) -> None:
        """A file may have another name now."""
        self._paths.clear()
