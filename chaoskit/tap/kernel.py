"""The few kernel interfaces of the tap that Python lacks: the seccomp listener, process memory, descriptors.

Thin and fast: buffers are allocated once, nothing here decides anything. Sources: linux/seccomp.h, pidfd_getfd(2),
process_vm_readv(2), openat2(2), seccomp_unotify(2).
"""

import ctypes
import errno
import fcntl
import mmap
import os
import re
import select
import struct
from collections.abc import Sequence

READY, QUIET, ENDED = 1, 0, -1  # What `Listener.look` saw.

_libc = ctypes.CDLL(None, use_errno=True)
# Calls that never wait long keep the interpreter's lock: releasing it costs more than they do.
_quick = ctypes.PyDLL(None, use_errno=True)
_RECEIVE, _SEND, _ID_VALID = 0xC0502100, 0xC0182101, 0x40082102
_ADD_FD = 0x40182103
_SET_FLAGS, _SYNC_WAKE_UP = 0x40082104, 1
_CONTINUE = 1
_ADD_FD_SEND = 1 << 1
_PIDFD_GETFD, _OPENAT2 = 438, 437
_RESOLVE_BENEATH, _RESOLVE_IN_ROOT = 0x08, 0x10
_NOTIFICATION = struct.Struct("<QIIiIQ6Q")  # struct seccomp_notif
_RESPONSE = struct.Struct("<QqiI")  # struct seccomp_notif_resp
_ADD_FD_LAYOUT = struct.Struct("<QIIII")  # struct seccomp_notif_addfd
_IOVEC = struct.Struct("<QQ")
_U64 = struct.Struct("<Q")
_PAGE_BYTES = mmap.PAGESIZE
_PATH_MAX_BYTES = 4096

_ioctl = _quick.ioctl
_ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
_readv = _quick.process_vm_readv
_readv.argtypes = (ctypes.c_int, *(ctypes.c_void_p, ctypes.c_ulong) * 2, ctypes.c_ulong)
_readv.restype = ctypes.c_ssize_t
_writev = _libc.process_vm_writev
_writev.argtypes = _readv.argtypes
_writev.restype = ctypes.c_ssize_t
_take_fd = _quick["syscall"]
_take_fd.argtypes = (ctypes.c_long,) * 4
_take_fd.restype = ctypes.c_long
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


# From here on only a fatal signal interrupts a call that was received (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV).
_WAITS_ARE_KILLABLE = _version() >= (5, 19)


def check(result: int) -> int:
    """The result of a C call, or OSError with its errno."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _address(buffer: bytearray | mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def system_call(number: int, *arguments: int) -> int:
    """A raw system call with integer arguments; raises OSError."""
    return check(int(_syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))))


class Listener:
    """One seccomp listener: wait, receive, answer. After `receive`, the held call is in `id`, `tid`, `nr`, `args`."""

    def __init__(self, listener_fd: int) -> None:
        self.fd = listener_fd
        self.id = 0
        self.tid = 0
        self.nr = 0
        self.args: Sequence[int] = ()
        self._empty = bytes(_NOTIFICATION.size)
        self._incoming = bytearray(_NOTIFICATION.size)
        self._incoming_at = _address(self._incoming)
        self._outgoing = bytearray(_RESPONSE.size)
        self._outgoing_at = _address(self._outgoing)
        self._poll = select.poll()
        self._poll.register(listener_fd, select.POLLIN)
        # The program and its supervisor take turns, so waking the one on the processor of the other is quickest.
        # Kernels before 6.6 do not know the flag, and do without.
        _ioctl(listener_fd, _SET_FLAGS, _SYNC_WAKE_UP)

    def close(self) -> None:
        """Close the descriptor: calls that are still held fail with ENOSYS."""
        os.close(self.fd)
        self.fd = -1

    def look(self) -> int:
        """READY when a call is pending, QUIET when none is, ENDED when every process of the filter is gone."""
        seen = self._poll.poll(0)
        if not seen:
            return QUIET
        return READY if seen[0][1] & select.POLLIN else ENDED

    def wait(self, timeout_s: float) -> int:
        """The same, after at most this time."""
        self._poll.poll(timeout_s * 1000)
        return self.look()

    def receive(self) -> bool:
        """Take the next held call. False when its thread died or was interrupted meanwhile (ENOENT): not an end."""
        incoming = self._incoming
        incoming[:] = self._empty
        if _ioctl(self.fd, _RECEIVE, self._incoming_at) < 0:
            if ctypes.get_errno() in (errno.ENOENT, errno.EINTR):
                return False
            check(-1)
        self.id, self.tid, _, self.nr, _, _, *self.args = _NOTIFICATION.unpack(incoming)
        return True

    def is_valid(self) -> bool:
        """Whether the received call is still held: what was read of its process before this is really its own."""
        if _WAITS_ARE_KILLABLE:
            return True  # It can only have died, and its number is not used again within microseconds.
        try:
            fcntl.ioctl(self.fd, _ID_VALID, _U64.pack(self.id))
        except OSError:
            return False
        return True

    def _send(self, value: int, error: int, flags: int) -> bool:
        _RESPONSE.pack_into(self._outgoing, 0, self.id, value, error, flags)
        if _ioctl(self.fd, _SEND, self._outgoing_at) < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return False
            check(-1)
        return True

    def answer(self, value: int) -> bool:
        """Let the call return `value`. False when nobody waits for it any more."""
        return self._send(value, 0, 0)

    def refuse(self, number: int) -> bool:
        """Let the call fail with this errno."""
        return self._send(0, -number, 0)

    def proceed(self) -> bool:
        """Let the kernel perform the call as it was made."""
        return self._send(0, 0, _CONTINUE)

    def answer_with_fd(self, fd: int, close_on_exec: bool) -> None:
        """Put a copy of `fd` into the process and let the call return its number. Raises OSError (EMFILE, ENOENT)."""
        flags = os.O_CLOEXEC if close_on_exec else 0
        fcntl.ioctl(self.fd, _ADD_FD, _ADD_FD_LAYOUT.pack(self.id, _ADD_FD_SEND, fd, 0, flags))


class Memory:
    """Reads and writes the memory of other processes through one page-aligned buffer, which O_DIRECT needs."""

    capacity_bytes = 256 * 1024

    def __init__(self) -> None:
        self._pages = mmap.mmap(-1, self.capacity_bytes)
        self.view = memoryview(self._pages)
        self._local = bytearray(_IOVEC.size)
        self._remote = bytearray(_IOVEC.size * 2)
        self._local_at, self._remote_at = _address(self._local), _address(self._remote)
        self._start = _address(self._pages)

    def fill(self, tid: int, address: int, size: int) -> int:
        """Copy `size` bytes (at most the capacity) to the start of `view`. Returns how many were readable."""
        _IOVEC.pack_into(self._local, 0, self._start, size)
        _IOVEC.pack_into(self._remote, 0, address, size)
        return check(_readv(tid, self._local_at, 1, self._remote_at, 1, 0))

    def read(self, tid: int, address: int, size: int) -> bytes:
        """A small structure. Raises OSError (EFAULT) when it is not all readable."""
        if size > self.capacity_bytes or self.fill(tid, address, size) != size:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        return bytes(self.view[:size])

    def read_path(self, tid: int, address: int) -> str:
        """A path that ends with a zero byte. Raises OSError (EFAULT, ENAMETOOLONG)."""
        first = _PAGE_BYTES - address % _PAGE_BYTES
        # The text may end just before an unmapped page, so each page is a piece of its own.
        _IOVEC.pack_into(self._local, 0, self._start, _PATH_MAX_BYTES)
        _IOVEC.pack_into(self._remote, 0, address, first)
        _IOVEC.pack_into(self._remote, _IOVEC.size, address + first, _PATH_MAX_BYTES - first)
        got = check(_readv(tid, self._local_at, 1, self._remote_at, 2, 0))
        text, end, _ = bytes(self.view[:got]).partition(b"\0")
        if not end:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return os.fsdecode(text)

    def write(self, tid: int, address: int, data: bytes) -> None:
        """Store bytes in the process: results that a call returns through a pointer."""
        source = ctypes.create_string_buffer(data, len(data))
        _IOVEC.pack_into(self._local, 0, ctypes.addressof(source), len(data))
        _IOVEC.pack_into(self._remote, 0, address, len(data))
        check(_writev(tid, self._local_at, 1, self._remote_at, 1, 0))


def take_fd(pidfd: int, fd: int) -> int:
    """A duplicate of another process's descriptor: the same open file, offset and flags. Raises OSError."""
    taken: int = _take_fd(_PIDFD_GETFD, pidfd, fd, 0)
    return taken if taken >= 0 else check(taken)


def _open_directory(base_fd: int, path: str, resolve: int) -> int:
    how = struct.pack("<QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path)
    arguments = (base_fd, ctypes.c_char_p(name), ctypes.c_char_p(how), ctypes.c_size_t(len(how)))
    return check(int(_syscall(_OPENAT2, *arguments)))


def open_in_root(root_fd: int, path: str) -> int:
    """Open a directory (O_PATH) as a process whose root is `root_fd` sees it, absolute symbolic links included."""
    return _open_directory(root_fd, path, _RESOLVE_IN_ROOT)


def open_beneath(base_fd: int, path: str) -> int:
    """Open a directory (O_PATH) below `base_fd`; a path that leads out of it is refused (EXDEV)."""
    return _open_directory(base_fd, path, _RESOLVE_BENEATH)
