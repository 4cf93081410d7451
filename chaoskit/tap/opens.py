"""Opens that create a file or cut one to nothing: open, openat, creat, openat2.

The file is opened here, with the program's rights and umask, and its descriptor is put into the program. An open that
changes nothing (the file exists and is empty or kept) is left to the kernel.
"""

import errno
import os
import stat
import struct

from chaoskit.tap.held import Blind, Decision, Held, int32
from chaoskit.tap.kernel import Listener
from chaoskit.tap.operation import Basic
from chaoskit.tap.paths import locate
from chaoskit.tap.shadow import Shadow
from chaoskit.tap.syscalls import AT_FDCWD
from chaoskit.tap.target import Place, acting_as

_CHANGING = os.O_CREAT | os.O_TRUNC


class Open(Basic):
    """An open of one entry; the answer is a descriptor in the program."""

    def __init__(self, held: Held, op: str, place: Place, flags: int, mode: int) -> None:
        self.op = op
        self.path = place.path
        self.place = place
        self.fd = -1
        self._who = held.target.credentials(held.listener.tid)
        self._flags, self._mode = flags, mode

    def perform(self, limit: int) -> int:
        """Open the file here. Raises OSError as the call would."""
        with acting_as(self._who):
            self.fd = os.open(self.place.name, self._flags | os.O_CLOEXEC, self._mode, dir_fd=self.place.parent_fd)
        return 0

    def answer(self, listener: Listener, result: int) -> None:
        """Put the descriptor into the program. Raises OSError (EMFILE) when it has no number free: nothing is made."""
        try:
            listener.answer_with_fd(self.fd, bool(self._flags & os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return  # The thread died; the file was opened all the same.
            if self.op == "create":
                os.unlink(self.place.name, dir_fd=self.place.parent_fd)
            raise

    def record(self, shadow: Shadow, result: int) -> None:
        """A new entry, or a file that is empty now."""
        if self.op == "create":
            shadow.appeared(self.place)
        else:
            shadow.resized(self.fd)

    def release(self) -> None:
        """Give the file and its directory back."""
        self.place.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _change_of(place: Place, flags: int) -> str | None:
    found = place.status()
    if found is None:
        return "create" if flags & os.O_CREAT else None
    if flags & os.O_TRUNC and not flags & os.O_EXCL and stat.S_ISREG(found.st_mode) and found.st_size:
        return "truncate"
    return None


def _open(held: Held, dir_fd: int, address: int, flags: int, mode: int) -> Decision:
    exclusive = flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL
    place = locate(held, dir_fd, address, follow=not exclusive and not flags & os.O_NOFOLLOW)
    op = _change_of(place, flags) if place.watched else None
    if op is not None:
        held.forget_paths()
        return Open(held, op, place, flags, mode & 0o7777)
    place.close()
    return None


def open_(held: Held) -> Decision:
    """open(path, flags, mode)."""
    address, flags, mode = held.listener.args[:3]
    return _open(held, AT_FDCWD, address, int32(flags), mode)


def openat(held: Held) -> Decision:
    """openat(directory, path, flags, mode)."""
    dir_fd, address, flags, mode = held.listener.args[:4]
    return _open(held, int32(dir_fd), address, int32(flags), mode)


def creat(held: Held) -> Decision:
    """creat(path, mode)."""
    address, mode = held.listener.args[:2]
    return _open(held, AT_FDCWD, address, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)


def openat2(held: Held) -> Decision:
    """openat2(directory, path, how, size): like openat; with a way of resolving of its own it is not followed."""
    dir_fd, address, how_at, size = held.listener.args[:4]
    flags, mode, resolve = struct.unpack("<QQQ", held.target.memory.read(held.listener.tid, how_at, 24))
    if size < 24 or not flags & _CHANGING:
        return None
    decision = _open(held, int32(dir_fd), address, flags, mode)
    if not resolve or not isinstance(decision, Open):
        return decision
    decision.release()
    return Blind(f"openat2 of {decision.path} with RESOLVE flags is not followed")


HANDLERS = {"open": open_, "openat": openat, "creat": creat, "openat2": openat2}
