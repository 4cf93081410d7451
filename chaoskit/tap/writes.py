"""The write family on files: write, pwrite64, writev, pwritev, pwritev2.

The bytes go through a duplicate of the program's own descriptor, so offset, O_APPEND, O_SYNC and a read-only
descriptor behave as they do without the tap. Only RLIMIT_FSIZE belongs to the process and not to the descriptor:
where it is set, the kernel performs the call.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator

from chaoskit.tap.held import Decision, Descriptor, Held, int32, int64
from chaoskit.tap.kernel import Memory
from chaoskit.tap.operation import Basic, Vanished
from chaoskit.tap.sends import send_of
from chaoskit.tap.shadow import Shadow

_IOV_MAX = 1024
Piece = tuple[int, int]  # (address, length)


class FileWrite(Basic):
    """Bytes of the program's memory, to a file under the root."""

    def __init__(self, held: Held, file: Descriptor, pieces: list[Piece]) -> None:
        self.path = file.path or ""
        self.fd = file.fd
        self.size = pieces[0][1] if len(pieces) == 1 else sum(length for _, length in pieces)
        self.offset: int | None = None
        self.flags: int | None = None
        self.faithful = held.target.may_grow_files()
        self._held = held
        self._pieces = pieces

    def _slices(self, limit: int) -> Iterator[Piece]:
        capacity = self._held.target.memory.capacity_bytes
        for address, length in self._pieces:
            length = min(length, limit)
            limit -= length
            for start in range(0, length, capacity):
                yield address + start, min(capacity, length - start)

    def perform(self, limit: int) -> int:
        """Write the first `limit` bytes; stops early where the kernel would."""
        if len(self._pieces) == 1 and limit <= Memory.capacity_bytes:
            return self._copy(self._pieces[0][0], limit, 0)
        done = 0
        for address, length in self._slices(limit):
            try:
                written = self._copy(address, length, done)
            except OSError:
                if done == 0:
                    raise
                break
            done += written
            if written < length:
                break
        return done

    def _copy(self, address: int, length: int, done: int) -> int:
        memory, listener = self._held.target.memory, self._held.listener
        readable = memory.fill(listener.tid, address, length)
        if not listener.is_valid():
            raise Vanished
        data = memory.view if readable == memory.capacity_bytes else memory.view[:readable]
        if self.offset is None:
            return os.write(self.fd, data)
        if self.flags is None:
            return os.pwrite(self.fd, data, self.offset + done)
        # An offset of -1 with pwritev2 means the file's own offset.
        offset = -1 if self.offset == -1 else self.offset + done
        return os.pwritev(self.fd, [data], offset, self.flags)

    def record(self, shadow: Shadow, result: int) -> None:
        """Which bytes of the file are new, and whether they are durable already (O_DSYNC, RWF_DSYNC)."""
        status, flags = fcntl.fcntl(self.fd, fcntl.F_GETFL), self.flags or 0
        if self.offset is None or (self.offset == -1 and self.flags is not None):
            start = os.lseek(self.fd, 0, os.SEEK_CUR) - result
        elif status & os.O_APPEND or flags & os.RWF_APPEND:
            start = os.fstat(self.fd).st_size - result
        else:
            start = self.offset
        durable = bool(status & os.O_DSYNC or flags & (os.RWF_DSYNC | os.RWF_SYNC))
        shadow.wrote(self.fd, start, result, durable=durable)

    def release(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def read_pieces(held: Held, address: int, count: int) -> list[Piece]:
    """The parts of an iovec array. Raises OSError (EINVAL, EFAULT)."""
    if count > _IOV_MAX:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    layout = held.target.memory.read(held.listener.tid, address, 16 * count) if count else b""
    return [(base, length) for base, length in struct.iter_unpack("<QQ", layout) if length]


def _write(held: Held, pieces_of: Callable[[Held], list[Piece]]) -> Decision:
    """A write to whatever the first argument is: a watched file, the broker's socket, or nothing of interest."""
    found = held.descriptor(held.listener.args[0])
    used = False
    try:
        if found.path is not None:
            pieces = pieces_of(held)
            used = bool(pieces)
            return FileWrite(held, found, pieces) if used else None
        return send_of(held, pieces_of(held)) if held.is_broker(found) else None
    finally:
        if not used:
            found.close()


def _buffer(held: Held) -> list[Piece]:
    _, address, size = held.listener.args[:3]
    return [(address, size)] if size else []


def _parts(held: Held) -> list[Piece]:
    _, address, count = held.listener.args[:3]
    return read_pieces(held, address, count)


def write(held: Held) -> Decision:
    """write(fd, buffer, size), to a file or to the broker's socket."""
    return _write(held, _buffer)


def writev(held: Held) -> Decision:
    """writev(fd, parts, count), to a file or to the broker's socket."""
    return _write(held, _parts)


def _at_offset(held: Held, operation: Decision, flags: int | None) -> Decision:
    if isinstance(operation, FileWrite):
        operation.offset, operation.flags = int64(held.listener.args[3]), flags
    return operation


def pwrite64(held: Held) -> Decision:
    """pwrite(fd, buffer, size, offset)."""
    return _at_offset(held, _write(held, _buffer), None)


def pwritev(held: Held) -> Decision:
    """pwritev(fd, parts, count, offset)."""
    return _at_offset(held, _write(held, _parts), None)


def pwritev2(held: Held) -> Decision:
    """pwritev2(fd, parts, count, offset, high half, flags)."""
    return _at_offset(held, _write(held, _parts), int32(held.listener.args[5]))


HANDLERS = {"write": write, "writev": writev, "pwrite64": pwrite64, "pwritev": pwritev, "pwritev2": pwritev2}
