"""Changes to files that are whole or absent, also after a kill, a power loss or a full disk.

Every record goes to the kernel with one write on a raw descriptor that is opened for it and closed after it: a Python
file object would keep the bytes of a failed flush and write them later, next to the redelivered copy. A change counts
only after fsync of the file and, once a path, of its directory. A failed fsync is final: the kernel may have marked
the pages clean (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020), so the change is
undone and has to be written again, or the process must exit.

It does not know any file format, takes no lock (one process owns a directory) and is not safe against other writers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Protocol

from chaoskit.durable.errors import MustExitError, WriteFailedError

StrPath = str | os.PathLike[str]

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_REWRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_READ_WRITE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_MODE = 0o644
_TAIL_BLOCK_BYTES = 1 << 16


class SystemCalls(Protocol):
    """The system calls that change or sync a file; the module `os` is one. Tests pass one that fails on purpose."""

    def open(self, path: str, flags: int, mode: int = ..., /) -> int: ...
    def write(self, fd: int, data: bytes, /) -> int: ...
    def fsync(self, fd: int, /) -> None: ...
    def ftruncate(self, fd: int, length: int, /) -> None: ...
    def close(self, fd: int, /) -> None: ...
    def rename(self, src: str, dst: str, /) -> None: ...
    def unlink(self, path: str, /) -> None: ...
    def mkdir(self, path: str, mode: int = ..., /) -> None: ...
    def rmdir(self, path: str, /) -> None: ...


class Disk:
    """Durable changes to files; remembers which directory entries are already on disk.

    Every method takes paths as `str` or `os.PathLike`, returns after fsync, and raises WriteFailedError when the file
    is as it was before the call, MustExitError when that can no longer be promised.
    """

    def __init__(self, system: SystemCalls = os) -> None:
        self._system = system
        self._entry_synced: set[str] = set()

    def append(self, path: StrPath, data: bytes, *, header: bytes = b"") -> int:
        """Append `data` as one record, whole or not at all; return the offset in bytes at which `data` starts.

        `header` goes in front when the file is empty, whether or not it existed: a kill between create and write
        leaves an empty file. The file is created when it is missing.
        """
        name = os.fspath(path)
        try:
            fd = self._system.open(name, _APPEND, _FILE_MODE)
        except OSError as error:
            raise _failed("append to", name, error) from error
        try:
            return self._append_to(fd, name, data, header)
        finally:
            self._system.close(fd)

    def _append_to(self, fd: int, name: str, data: bytes, header: bytes) -> int:
        base = os.fstat(fd).st_size
        try:
            self._write_all(fd, data if base else header + data)
            self._system.fsync(fd)
        except OSError as error:
            self._undo_append(fd, name, base)
            raise _failed("append to", name, error) from error
        if base == 0 or name not in self._entry_synced:
            self._sync_entry_of_append(fd, name, base)
        return base if base else len(header)

    def _sync_entry_of_append(self, fd: int, name: str, base: int) -> None:
        try:
            self._sync_entry(name)
        except OSError as error:
            self._undo_append(fd, name, base)
            if base:
                raise _fatal("fsync the directory of", name, error) from error
            raise _failed("append to", name, error) from error

    def _write_all(self, fd: int, data: bytes) -> None:
        written_bytes = self._system.write(fd, data)
        while written_bytes < len(data):
            step_bytes = self._system.write(fd, data[written_bytes:])
            if step_bytes <= 0:
                raise OSError("write made no progress")
            written_bytes += step_bytes

    def _undo_append(self, fd: int, name: str, base: int) -> None:
        # The directory entry of an empty file goes too: after a failed directory fsync only a new create, not a
        # second fsync, puts the entry on disk.
        try:
            self._system.ftruncate(fd, base)
            self._system.fsync(fd)
            if base == 0:
                self._entry_synced.discard(name)
                self._system.unlink(name)
        except OSError as error:
            raise _fatal("undo an append to", name, error) from error

    def cut(self, path: StrPath, length_bytes: int) -> None:
        """Cut the file to `length_bytes` and fsync it. Raises MustExitError: a cut is always part of a repair."""
        name = os.fspath(path)

        def truncate(fd: int) -> None:
            if os.fstat(fd).st_size < length_bytes:
                raise OSError(f"it is shorter than {length_bytes} bytes")
            self._system.ftruncate(fd, length_bytes)

        self._with_fd(name, _READ_WRITE, "cut", truncate)

    def sync_file(self, path: StrPath) -> None:
        """fsync a file whose bytes are about to be trusted (an earlier life may have died before its fsync)."""
        self._with_fd(os.fspath(path), _READ_WRITE, "fsync", lambda fd: None)

    def sync_directory(self, path: StrPath) -> None:
        """fsync a directory: every entry in it is on disk afterwards. Raises MustExitError."""
        self._with_fd(os.fspath(path), _DIRECTORY, "fsync", lambda fd: None)

    def _with_fd(self, name: str, flags: int, verb: str, change: Callable[[int], None]) -> None:
        try:
            fd = self._system.open(name, flags)
            try:
                change(fd)
                self._system.fsync(fd)
            finally:
                self._system.close(fd)
        except OSError as error:
            raise _fatal(verb, name, error) from error

    def _sync_entry(self, name: str) -> None:
        fd = self._system.open(_parent(name), _DIRECTORY)
        try:
            self._system.fsync(fd)
        finally:
            self._system.close(fd)
        self._entry_synced.add(name)

    def entry_is_on_disk(self, path: StrPath) -> None:
        """Remember that the directory of `path` was synced after `path` was there, so that append need not."""
        self._entry_synced.add(os.fspath(path))

    def repair_tail(self, path: StrPath) -> int:
        r"""Cut what follows the last `\n` and fsync; return how many bytes were cut. Reads only the tail.

        Right for files whose records hold no line break. A missing file counts as an empty one.
        """
        name = os.fspath(path)
        try:
            end = whole_lines_bytes(name)
            torn_bytes = os.stat(name).st_size - end
        except FileNotFoundError:
            return 0
        if torn_bytes:
            self.cut(name, end)
        else:
            self.sync_file(name)
        return torn_bytes

    def replace(self, path: StrPath, data: bytes) -> None:
        """Put `data` in the place of the file at once: a reader, or the next life, sees the old or the new one."""
        name = os.fspath(path)
        temporary = name + ".tmp"
        try:
            self._write_new(temporary, data)
            self._system.rename(temporary, name)
        except OSError as error:
            self._remove_quietly(temporary)
            raise _failed("replace", name, error) from error
        try:
            self._sync_entry(name)
        except OSError as error:
            raise _fatal("fsync the directory of", name, error) from error

    def move(self, source: StrPath, target: StrPath) -> None:
        """Rename a file within its directory, over an old target if there is one, and sync the directory."""
        name = os.fspath(source)
        try:
            self._system.rename(name, os.fspath(target))
        except OSError as error:
            raise _failed("rename", name, error) from error
        self._entry_synced.discard(name)
        self.sync_directory(_parent(name))

    def _write_new(self, name: str, data: bytes) -> None:
        fd = self._system.open(name, _REWRITE, _FILE_MODE)
        try:
            self._write_all(fd, data)
            self._system.fsync(fd)
        finally:
            self._system.close(fd)

    def create_marker(self, path: StrPath) -> None:
        """Create an empty file whose existence is the record. One directory entry: it cannot tear."""
        name = os.fspath(path)
        try:
            self._system.close(self._system.open(name, _APPEND, _FILE_MODE))
        except OSError as error:
            raise _failed("create", name, error) from error
        try:
            self._sync_entry(name)
        except OSError as error:
            # Without the unlink a next life would trust an entry that a later power loss takes away.
            self._remove_quietly(name)
            raise _fatal("fsync the directory of", name, error) from error

    def unlink(self, path: StrPath) -> None:
        """Remove a file; a missing one is fine. The removal is not synced: callers must survive its return."""
        name = os.fspath(path)
        self._entry_synced.discard(name)
        try:
            self._system.unlink(name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failed("remove", name, error) from error

    def _remove_quietly(self, name: str) -> None:
        try:
            self._system.unlink(name)
        except OSError:
            return

    def ensure_directory(self, path: StrPath) -> None:
        """Create the directory and its missing parents, each synced into its parent. Raises MustExitError.

        Of what existed already only the entry of `path` itself is synced again: call it for each level that matters.
        """
        name = os.fspath(path)
        if not os.path.isdir(name):
            if not os.path.isdir(_parent(name)):
                self.ensure_directory(_parent(name))
            self._make_directory(name)
            return
        # Also when it was there: the life that created it may have died before its fsync.
        self.sync_directory(_parent(name))

    def _make_directory(self, name: str) -> None:
        try:
            self._system.mkdir(name, 0o755)
        except OSError as error:
            raise _fatal("create the directory", name, error) from error
        try:
            self.sync_directory(_parent(name))
        except MustExitError:
            # A failed fsync is final, also for an entry: the next start has to make it anew, not trust it.
            with contextlib.suppress(OSError):
                self._system.rmdir(name)
            raise

    def rewrite(self, path: StrPath, data: bytes) -> None:
        """Put `data` in the place of the file, not at once: a kill leaves the old bytes, none, or a prefix of `data`.

        One fsync cheaper than `replace`, for files whose format tells a prefix from the whole. The directory entry
        is synced the first time. Raises WriteFailedError; the file then holds a prefix of `data`.
        """
        name = os.fspath(path)
        try:
            self._write_new(name, data)
            if name not in self._entry_synced:
                self._sync_entry(name)
        except OSError as error:
            raise _failed("rewrite", name, error) from error


def file_size(path: StrPath) -> int:
    """Return the size in bytes, 0 for a missing file."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def whole_lines_bytes(path: StrPath) -> int:
    r"""Return the length in bytes up to and with the last `\n` of the file; 0 when it has none. Reads the tail."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _TAIL_BLOCK_BYTES)
            file.seek(start)
            last = file.read(end - start).rfind(b"\n")
            if last >= 0:
                return start + last + 1
            end = start
    return 0


def _parent(name: str) -> str:
    return os.path.dirname(name.rstrip("/")) or ("/" if name.startswith("/") else ".")


def _failed(verb: str, name: str, error: OSError) -> WriteFailedError:
    return WriteFailedError(f"cannot {verb} {name}: {error.strerror or error}; the file is as it was, try again later")


def _fatal(verb: str, name: str, error: OSError) -> MustExitError:
    return MustExitError(f"cannot {verb} {name}: {error.strerror or error}; exit and start again to repair")
