"""Calls on an open file that are no writes: the fsync family, ftruncate, fallocate; and what the tap cannot follow.

An fsync is answered without asking the disk (`Held` never waits): a killed process loses nothing of the page cache, and
power loss is played by `chaoskit.tap.powerloss`, for which this moment counts and not the disk's.
"""

import errno
import fcntl
import os

from chaoskit.tap.held import Blind, Decision, Descriptor, Held, Refusal, int32, int64
from chaoskit.tap.kernel import system_call
from chaoskit.tap.operation import Basic
from chaoskit.tap.shadow import Shadow
from chaoskit.tap.syscalls import architecture

EVERYTHING = "."
_KEEP_SIZE = 1


class Sync(Basic):
    """fsync or fdatasync of a file or directory; `fd` None means everything (sync, syncfs)."""

    op = "fsync"

    def __init__(self, path: str, fd: int | None) -> None:
        self.path = path
        self.fd = fd

    def perform(self, limit: int) -> int:
        """Fails like fsync on a descriptor that is only a path (EBADF)."""
        if self.fd is not None and fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_PATH:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return 0

    def record(self, shadow: Shadow, result: int) -> None:
        """What was pending is durable."""
        shadow.synced(self.fd)

    def record_failure(self, shadow: Shadow) -> None:
        """What was pending is lost for good."""
        shadow.sync_failed(self.fd)

    def release(self) -> None:
        """Give the descriptor back."""
        if self.fd is not None:
            os.close(self.fd)


class Resize(Basic):
    """ftruncate to a length, or fallocate with its mode."""

    op = "truncate"

    def __init__(self, file: Descriptor, mode: int | None, offset: int, length: int) -> None:
        self.path = file.path or ""
        self.fd = file.fd
        self._mode = mode
        self._offset, self._length = offset, length

    def perform(self, limit: int) -> int:
        """Change the length (or the holes) through the program's own descriptor."""
        if self._mode is None:
            os.ftruncate(self.fd, self._length)
            return 0
        return system_call(architecture().numbers["fallocate"], self.fd, self._mode, self._offset, self._length)

    def record(self, shadow: Shadow, result: int) -> None:
        """A new length, and with some modes new content."""
        shadow.resized(self.fd, rewritten=bool(self._mode and self._mode & ~_KEEP_SIZE))

    def release(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def fsync(held: Held) -> Decision:
    """fsync(fd) and fdatasync(fd)."""
    file = held.watched(held.listener.args[0])
    return None if file is None else Sync(file.path or EVERYTHING, file.fd)


def sync(held: Held) -> Decision:
    """sync() and syncfs(fd): an fsync of everything."""
    return Sync(EVERYTHING, None)


def ftruncate(held: Held) -> Decision:
    """ftruncate(fd, length). One that keeps the length changes nothing."""
    length = int64(held.listener.args[1])
    file = held.watched(held.listener.args[0])
    if file is None:
        return None
    if os.fstat(file.fd).st_size == length:
        file.close()
        return None
    return Resize(file, None, 0, length)


def fallocate(held: Held) -> Decision:
    """fallocate(fd, mode, offset, length)."""
    fd, mode, offset, length = held.listener.args[:4]
    file = held.watched(fd)
    return None if file is None else Resize(file, int32(mode), int64(offset), int64(length))


def mmap(held: Held) -> Decision:
    """A shared writable mapping: its stores are no system calls."""
    file = held.watched(held.listener.args[4])
    if file is None:
        return None
    file.close()
    return Blind(f"{file.path} is mapped shared and writable: its stores are not seen")


def clone_file(held: Held) -> Decision:
    """ioctl FICLONE: refused, so that the program copies instead."""
    file = held.watched(held.listener.args[0])
    if file is None:
        return None
    file.close()
    return Refusal(errno.EOPNOTSUPP, "")


def io_uring_setup(held: Held) -> Decision:
    """io_uring would pass the tap by: refused, so that the program falls back."""
    return Refusal(errno.ENOSYS, "io_uring is refused under the tap: the program may behave differently")


def io_submit(held: Held) -> Decision:
    """Linux AIO would pass the tap by."""
    return Refusal(errno.ENOSYS, "Linux AIO is refused under the tap: the program may behave differently")


def limit_change(held: Held) -> Decision:
    """setrlimit and prlimit of RLIMIT_FSIZE: from now on each write has to look at the limit."""
    held.target.limits_change = True
    return None


HANDLERS = {
    "fsync": fsync, "fdatasync": fsync, "sync": sync, "syncfs": sync, "ftruncate": ftruncate, "fallocate": fallocate,
    "mmap": mmap, "ioctl": clone_file, "io_uring_setup": io_uring_setup, "io_submit": io_submit,
    "setrlimit": limit_change, "prlimit64": limit_change,
}  # fmt: skip
