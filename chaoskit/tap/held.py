"""A held call while it is being decided: the listener that holds it, the program it belongs to, and what it refers to.

Handlers (writes, transfers, files, opens, paths, sends) take a Held and return an Operation, None to let the kernel
go on, or a Refusal.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.tap.kernel import Listener
from chaoskit.tap.operation import Operation
from chaoskit.tap.target import Target

_DELETED = " (deleted)"


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


class Held:
    """The call that the listener received last, with what handlers need to understand it."""

    def __init__(self, listener: Listener, target: Target, broker: Callable[[int, str], bool]) -> None:
        self.listener = listener
        self.target = target
        self.is_broker = broker
        self._regular: set[str] = set()

    def path_of(self, fd: int) -> str | None:
        """The path under the root of a regular file or directory that is still linked; None for anything else."""
        return self.watched(self.target.file_at(self.listener.tid, fd))

    def watched(self, link: str) -> str | None:
        """The same for what /proc says of a descriptor."""
        path = self.target.under_root(link)
        if path is None or link.endswith(_DELETED):
            return None
        # A write to a FIFO could wait for ever, so the kind is looked up once a path.
        if path not in self._regular:
            mode = os.stat(f"/proc/{self.listener.tid}/root{link}", follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                return None
            self._regular.add(path)
        return path

    def forget_kinds(self) -> None:
        """A name may now stand for another kind of file."""
        self._regular.clear()

    def take_fd(self, fd: int) -> int:
        """A duplicate of one of the caller's descriptors."""
        return self.target.take_fd(self.listener.tid, fd)
