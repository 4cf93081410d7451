"""Calls that write to a file without a buffer of the program: copy_file_range, sendfile, splice."""

import array
import fcntl
import os
import stat
import struct
import termios
from dataclasses import dataclass

from chaoskit.tap.held import Blind, Decision, Held
from chaoskit.tap.operation import Basic
from chaoskit.tap.shadow import Shadow

_SPLICE_NONBLOCK = 2


@dataclass(frozen=True, slots=True)
class _End:
    """One side of a transfer: its descriptor in the program, and where its offset lies in memory (0: its own)."""

    fd: int
    offset_at: int


class _Side:
    """A taken descriptor and the explicit offset, which goes back into the program's memory afterwards."""

    def __init__(self, held: Held, end: _End) -> None:
        self._held = held
        self._offset_at = end.offset_at
        self.offset: int | None = None
        if end.offset_at:
            stored = held.target.memory.read(held.listener.tid, end.offset_at, 8)
            self.offset = struct.unpack("<q", stored)[0]
        self.fd = held.descriptor(end.fd).fd

    def advance(self, count: int) -> None:
        if self.offset is not None:
            self.offset += count
            self._held.target.memory.write(self._held.listener.tid, self._offset_at, struct.pack("<q", self.offset))

    def available_bytes(self) -> int | None:
        """What can be read without waiting; None for something that is neither a file nor a pipe."""
        status = os.fstat(self.fd)
        if stat.S_ISREG(status.st_mode):
            at = os.lseek(self.fd, 0, os.SEEK_CUR) if self.offset is None else self.offset
            return max(status.st_size - at, 0)
        if not stat.S_ISFIFO(status.st_mode):
            return None
        waiting = array.array("i", [0])
        fcntl.ioctl(self.fd, termios.FIONREAD, waiting)
        return waiting[0]


class Transfer(Basic):
    """Bytes from one descriptor to a file under the root, without waiting for either."""

    def __init__(self, held: Held, path: str, name: str, source: _Side, sink: _Side, count: int) -> None:
        self.path = path
        self.source, self.sink = source, sink
        self._name = name
        self.size = min(count, source.available_bytes() or 0)

    def perform(self, limit: int) -> int:
        """Move up to `limit` bytes and put the offsets back."""
        count = min(limit, self.size)
        moved = {"sendfile": self._sendfile, "splice": self._splice}.get(self._name, self._copy_range)(count)
        self.source.advance(moved)
        self.sink.advance(moved)
        return moved

    def _sendfile(self, count: int) -> int:
        return os.sendfile(self.sink.fd, self.source.fd, self.source.offset, count)

    def _splice(self, count: int) -> int:
        ends = (self.source.fd, self.sink.fd)
        return os.splice(*ends, count, self.source.offset, self.sink.offset, _SPLICE_NONBLOCK)

    def _copy_range(self, count: int) -> int:
        return os.copy_file_range(self.source.fd, self.sink.fd, count, self.source.offset, self.sink.offset)

    def record(self, shadow: Shadow, result: int) -> None:
        """The bytes before the sink's offset are new."""
        end = os.lseek(self.sink.fd, 0, os.SEEK_CUR) if self.sink.offset is None else self.sink.offset
        durable = bool(fcntl.fcntl(self.sink.fd, fcntl.F_GETFL) & os.O_DSYNC)
        shadow.wrote(self.sink.fd, end - result, result, durable=durable)

    def release(self) -> None:
        """Give both descriptors back."""
        os.close(self.source.fd)
        os.close(self.sink.fd)


def _transfer(held: Held, name: str, source: _End, sink: _End, count: int) -> Decision:
    file = held.watched(sink.fd)
    if file is None or not count:
        return None
    file.close()
    path = file.path or ""
    from_side = _Side(held, source)
    try:
        to_side = _Side(held, sink)
    except OSError:
        os.close(from_side.fd)
        raise
    operation = Transfer(held, path, name, from_side, to_side, count)
    if operation.size:
        return operation
    operation.release()
    return None if name != "splice" else Blind(f"splice into {path} from an empty pipe is not followed")


def copy_file_range(held: Held) -> Decision:
    """copy_file_range(in, in offset, out, out offset, size, flags)."""
    fd_in, in_at, fd_out, out_at, count = held.listener.args[:5]
    return _transfer(held, "copy_file_range", _End(fd_in, in_at), _End(fd_out, out_at), count)


def sendfile(held: Held) -> Decision:
    """sendfile(out, in, in offset, size)."""
    fd_out, fd_in, in_at, count = held.listener.args[:4]
    return _transfer(held, "sendfile", _End(fd_in, in_at), _End(fd_out, 0), count)


def splice(held: Held) -> Decision:
    """splice(in, in offset, out, out offset, size, flags)."""
    fd_in, in_at, fd_out, out_at, count = held.listener.args[:5]
    return _transfer(held, "splice", _End(fd_in, in_at), _End(fd_out, out_at), count)


HANDLERS = {"copy_file_range": copy_file_range, "sendfile": sendfile, "splice": splice}
