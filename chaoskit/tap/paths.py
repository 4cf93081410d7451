"""Calls that change directory entries by path: rename, unlink, rmdir, mkdir, link, symlink, mknod, truncate.

Each is performed here, relative to the open directory that the program's path leads to, with the program's rights.
A call that would fail or change nothing is left to the kernel.
"""

import ctypes
import os
import stat
from collections.abc import Callable

from chaoskit.tap.held import Decision, Held, int32, int64
from chaoskit.tap.kernel import system_call
from chaoskit.tap.operation import Basic
from chaoskit.tap.shadow import Shadow
from chaoskit.tap.syscalls import AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, architecture
from chaoskit.tap.target import Place, acting_as

_PERMISSIONS = 0o7777


class EntryChange(Basic):
    """One change of directory entries; `places` are the entries it touches, the changed one last."""

    def __init__(self, held: Held, op: str, places: list[Place], change: Callable[[], None]) -> None:
        self.op = op
        self.places = places
        self.path = next(place.path for place in reversed(places) if place.watched)
        self._who = held.target.credentials(held.listener.tid)
        self._change = change

    def perform(self, limit: int) -> int:
        """Make the change with the program's rights and umask. Raises OSError as the call would."""
        with acting_as(self._who):
            self._change()
        return 0

    def record(self, shadow: Shadow, result: int) -> None:
        """Which entries are there now and which are not, or the new length."""
        place = self.places[-1]
        if self.op == "rename":
            shadow.renamed(*self.places)
        else:
            told = {"unlink": shadow.disappeared, "truncate": shadow.resized_at}
            told.get(self.op, shadow.appeared)(place)

    def release(self) -> None:
        """Give the directories back."""
        for place in self.places:
            place.close()


def _change(held: Held, op: str, places: list[Place], change: Callable[[], None]) -> Decision:
    if any(place.watched for place in places):
        held.forget_paths()
        return EntryChange(held, op, places, change)
    return _leave(*places)


def _leave(*places: Place) -> Decision:
    for place in places:
        place.close()
    return None


def locate(held: Held, dir_fd: int, address: int, *, follow: bool = False) -> Place:
    """The entry that a path argument leads to, looked up with the program's rights. Raises OSError."""
    tid = held.listener.tid
    path = held.target.memory.read_path(tid, address)
    with acting_as(held.target.credentials(tid)):
        return held.target.resolve(tid, dir_fd, path, follow=follow)


def _rename(held: Held, old: tuple[int, int], new: tuple[int, int], flags: int) -> Decision:
    source, destination = locate(held, *old), locate(held, *new)
    if source.status() is None:
        return _leave(source, destination)

    def change() -> None:
        names = [ctypes.create_string_buffer(os.fsencode(place.name)) for place in (source, destination)]
        where = [ctypes.addressof(name) for name in names]
        number = architecture().numbers["renameat2"]
        system_call(number, source.parent_fd, where[0], destination.parent_fd, where[1], flags)

    return _change(held, "rename", [source, destination], change)


def rename(held: Held) -> Decision:
    """rename(old, new)."""
    old, new = held.listener.args[:2]
    return _rename(held, (AT_FDCWD, old), (AT_FDCWD, new), 0)


def renameat(held: Held) -> Decision:
    """renameat(old directory, old, new directory, new)."""
    old_dir, old, new_dir, new = held.listener.args[:4]
    return _rename(held, (int32(old_dir), old), (int32(new_dir), new), 0)


def renameat2(held: Held) -> Decision:
    """renameat2: renameat with flags, among them RENAME_EXCHANGE."""
    old_dir, old, new_dir, new, flags = held.listener.args[:5]
    return _rename(held, (int32(old_dir), old), (int32(new_dir), new), int32(flags))


def _unlink(held: Held, dir_fd: int, address: int, directory: bool) -> Decision:
    place = locate(held, dir_fd, address)
    if place.status() is None:
        return _leave(place)
    remove = os.rmdir if directory else os.unlink
    return _change(held, "unlink", [place], lambda: remove(place.name, dir_fd=place.parent_fd))


def unlink(held: Held) -> Decision:
    """unlink(path)."""
    return _unlink(held, AT_FDCWD, held.listener.args[0], False)


def rmdir(held: Held) -> Decision:
    """rmdir(path)."""
    return _unlink(held, AT_FDCWD, held.listener.args[0], True)


def unlinkat(held: Held) -> Decision:
    """unlinkat(directory, path, flags)."""
    dir_fd, address, flags = held.listener.args[:3]
    return _unlink(held, int32(dir_fd), address, bool(flags & AT_REMOVEDIR))


def _make(held: Held, op: str, dir_fd: int, address: int, make: Callable[[Place], None]) -> Decision:
    place = locate(held, dir_fd, address)
    if place.status() is not None:
        return _leave(place)
    return _change(held, op, [place], lambda: make(place))


def _mkdir(held: Held, dir_fd: int, address: int, mode: int) -> Decision:
    permissions = mode & _PERMISSIONS

    def make(place: Place) -> None:
        os.mkdir(place.name, permissions, dir_fd=place.parent_fd)

    return _make(held, "mkdir", dir_fd, address, make)


def mkdir(held: Held) -> Decision:
    """mkdir(path, mode)."""
    return _mkdir(held, AT_FDCWD, held.listener.args[0], held.listener.args[1])


def mkdirat(held: Held) -> Decision:
    """mkdirat(directory, path, mode)."""
    dir_fd, address, mode = held.listener.args[:3]
    return _mkdir(held, int32(dir_fd), address, mode)


def _mknod(held: Held, dir_fd: int, address: int, mode: int) -> Decision:
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return None

    def make(place: Place) -> None:
        os.mknod(place.name, mode & _PERMISSIONS | stat.S_IFREG, dir_fd=place.parent_fd)

    return _make(held, "create", dir_fd, address, make)


def mknod(held: Held) -> Decision:
    """mknod(path, mode, device); only a regular file is a create."""
    return _mknod(held, AT_FDCWD, held.listener.args[0], held.listener.args[1])


def mknodat(held: Held) -> Decision:
    """mknodat(directory, path, mode, device)."""
    dir_fd, address, mode = held.listener.args[:3]
    return _mknod(held, int32(dir_fd), address, mode)


def _symlink(held: Held, content_at: int, dir_fd: int, address: int) -> Decision:
    content = held.target.memory.read_path(held.listener.tid, content_at)
    return _make(held, "create", dir_fd, address, lambda place: os.symlink(content, place.name, dir_fd=place.parent_fd))


def symlink(held: Held) -> Decision:
    """symlink(content, path)."""
    return _symlink(held, held.listener.args[0], AT_FDCWD, held.listener.args[1])


def symlinkat(held: Held) -> Decision:
    """symlinkat(content, directory, path)."""
    content, dir_fd, address = held.listener.args[:3]
    return _symlink(held, content, int32(dir_fd), address)


def _link_open_file(held: Held, fd: int, dir_fd: int, address: int) -> Decision:
    # An unnamed file (O_TMPFILE) gets its name through its descriptor.
    def make(place: Place) -> None:
        file = held.descriptor(fd)
        try:
            os.link(f"/proc/self/fd/{file.fd}", place.name, dst_dir_fd=place.parent_fd, follow_symlinks=True)
        finally:
            file.close()

    return _make(held, "create", dir_fd, address, make)


def _descriptor_in(path: str) -> int | None:
    for prefix in ("/proc/self/fd/", "/dev/fd/"):
        number = path.removeprefix(prefix)
        if number != path and number.isdecimal():
            return int(number)
    return None


def _link(held: Held, old: tuple[int, int], new: tuple[int, int], flags: int) -> Decision:
    path = held.target.memory.read_path(held.listener.tid, old[1])
    fd = old[0] if not path and flags & AT_EMPTY_PATH else None
    if flags & AT_SYMLINK_FOLLOW:
        fd = _descriptor_in(path) if fd is None else fd
    if fd is not None:
        return _link_open_file(held, fd, *new)
    source = locate(held, *old, follow=bool(flags & AT_SYMLINK_FOLLOW))
    destination = locate(held, *new)
    if source.status() is None or destination.status() is not None or not destination.watched:
        return _leave(source, destination)
    fds = {"src_dir_fd": source.parent_fd, "dst_dir_fd": destination.parent_fd}
    return _change(
        held,
        "create",
        [source, destination],
        lambda: os.link(source.name, destination.name, **fds, follow_symlinks=False),
    )


def link(held: Held) -> Decision:
    """link(old, new)."""
    old, new = held.listener.args[:2]
    return _link(held, (AT_FDCWD, old), (AT_FDCWD, new), 0)


def linkat(held: Held) -> Decision:
    """linkat(old directory, old, new directory, new, flags)."""
    old_dir, old, new_dir, new, flags = held.listener.args[:5]
    return _link(held, (int32(old_dir), old), (int32(new_dir), new), int32(flags))


def truncate(held: Held) -> Decision:
    """truncate(path, length)."""
    address, length = held.listener.args[:2]
    place = locate(held, AT_FDCWD, address, follow=True)
    found = place.status()
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_size == int64(length):
        return _leave(place)

    def change() -> None:
        fd = os.open(place.name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=place.parent_fd)
        try:
            os.ftruncate(fd, int64(length))
        finally:
            os.close(fd)

    return _change(held, "truncate", [place], change)


HANDLERS = {
    "rename": rename, "renameat": renameat, "renameat2": renameat2, "unlink": unlink, "unlinkat": unlinkat,
    "rmdir": rmdir, "mkdir": mkdir, "mkdirat": mkdirat, "mknod": mknod, "mknodat": mknodat, "symlink": symlink,
    "symlinkat": symlinkat, "link": link, "linkat": linkat, "truncate": truncate,
}  # fmt: skip
