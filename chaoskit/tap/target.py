"""A program's processes as the supervisor sees them: descriptors, memory, credentials, and where a path leads.

Thread ids come from notifications; a process is opened (pidfd) once and kept. Paths are resolved as the program would:
with its working directory, its root and, in `acting_as`, its rights. Nothing here changes a file.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.tap.kernel import Memory, open_in_root, system_call, take_fd
from chaoskit.tap.syscalls import AT_FDCWD, architecture

_LINKS_MAX = 40  # The kernel's own limit for symbolic links in one path.
_PROCESSES_MAX = 512


class Unreachable(Exception):
    """This process may not look into the program's processes, so the tap cannot do its work."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a thread is for the file system: fsuid, fsgid, groups, and its umask."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int


@dataclass(slots=True)
class Place:
    """A directory entry: an O_PATH descriptor of its directory (the Place owns it), a name, the path under the root."""

    parent_fd: int
    name: str
    path: str
    watched: bool

    def close(self) -> None:
        """Give the directory's descriptor back."""
        if self.parent_fd >= 0:
            os.close(self.parent_fd)
            self.parent_fd = -1

    def status(self) -> os.stat_result | None:
        """lstat of the entry, None when there is none."""
        try:
            return os.stat(self.name, dir_fd=self.parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


class Target:
    """All processes of one supervised program. `root` is the watched directory as the program sees it."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._prefix = self.root.rstrip("/") + "/"
        self.memory = Memory()
        self._pids: dict[int, int] = {}
        self._pidfds: dict[int, int] = {}
        self._same_view: dict[int, bool] = {}

    def close(self) -> None:
        """Give all descriptors back."""
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        for known in (self._pidfds, self._pids, self._same_view):
            known.clear()

    @property
    def pids(self) -> list[int]:
        """The processes that made a watched call so far."""
        return list(self._pidfds)

    def pid_of(self, tid: int) -> int:
        """The process that a thread belongs to."""
        pid = self._pids.get(tid)
        if pid is None:
            if len(self._pids) > _PROCESSES_MAX:
                self.close()
            pid = self._pids[tid] = self._open(tid)
        return pid

    def _open(self, tid: int) -> int:
        try:
            os.readlink(f"/proc/{tid}/cwd")
        except PermissionError as error:
            raise Unreachable(
                f"process {tid} cannot be inspected ({error.strerror}): run as its user or as root"
            ) from error
        pid = int(_status_fields(tid)["Tgid"])
        if pid not in self._pidfds:
            self._pidfds[pid] = os.pidfd_open(pid)
        return pid

    def take_fd(self, tid: int, fd: int) -> int:
        """A duplicate of the program's descriptor. Raises OSError, EBADF as the program would get it."""
        pid = self.pid_of(tid)
        try:
            return take_fd(self._pidfds[pid], fd)
        except ProcessLookupError:
            # The number belonged to a process that is gone; the thread that is held now is another one.
            os.close(self._pidfds.pop(pid))
            self._pids.pop(tid)
            return take_fd(self._pidfds[self.pid_of(tid)], fd)

    def file_at(self, tid: int, fd: int) -> str:
        """What a descriptor refers to: an absolute path, or "pipe:[7]", "socket:[7]". Raises OSError."""
        return os.readlink(f"/proc/{tid}/fd/{fd}")

    def under_root(self, link: str) -> str | None:
        """The path relative to the root ("." for itself), None when it lies outside."""
        if link.startswith(self._prefix):
            return link[len(self._prefix) :]
        return "." if link == self.root else None

    def credentials(self, tid: int) -> Credentials:
        """Read now, for a program may change them. Raises OSError when the thread is gone."""
        found = _status_fields(tid)
        groups = tuple(int(group) for group in found["Groups"].split())
        return Credentials(int(found["Uid"].split()[3]), int(found["Gid"].split()[3]), groups, int(found["Umask"], 8))

    def resolve(self, tid: int, dir_fd: int, path: str, *, follow: bool = False) -> Place:
        """Where a path of the program leads; `follow` goes through a symbolic link at its end. Raises OSError.

        An empty path, and one that ends in "." or "..", has no entry to change: EINVAL.
        """
        full = self._absolute(tid, dir_fd, path)
        for _ in range(_LINKS_MAX):
            place = self._entry(tid, full)
            found = place.status() if follow else None
            if found is None or not stat.S_ISLNK(found.st_mode):
                return place
            link = os.readlink(place.name, dir_fd=place.parent_fd)
            full = os.path.join(os.readlink(f"/proc/self/fd/{place.parent_fd}"), link)
            place.close()
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def _absolute(self, tid: int, dir_fd: int, path: str) -> str:
        if path.startswith("/"):
            return _own_proc(tid, path)
        where = "cwd" if dir_fd == AT_FDCWD else f"fd/{dir_fd}"
        return os.path.join(os.readlink(f"/proc/{tid}/{where}"), path)

    def _entry(self, tid: int, full: str) -> Place:
        directory, name = os.path.split(full.rstrip("/"))
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), full)
        parent_fd = self._open_directory(tid, directory)
        inside = self.under_root(os.readlink(f"/proc/self/fd/{parent_fd}"))
        relative = name if inside == "." else f"{inside}/{name}"
        return Place(parent_fd, name, relative, inside is not None)

    def _open_directory(self, tid: int, directory: str) -> int:
        if self._shares_view(tid):
            return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        root_fd = os.open(f"/proc/{tid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_in_root(root_fd, directory)
        finally:
            os.close(root_fd)

    def _shares_view(self, tid: int) -> bool:
        pid = self.pid_of(tid)
        same = self._same_view.get(pid)
        if same is None:
            same = all(
                os.path.samestat(os.stat(f"/proc/{tid}/{name}"), os.stat(f"/proc/self/{name}"))
                for name in ("ns/mnt", "root")
            )
            self._same_view[pid] = same
        return same


def _own_proc(tid: int, path: str) -> str:
    # "self" would mean the supervisor here.
    if path.startswith("/proc/self/"):
        return f"/proc/{tid}/{path.removeprefix('/proc/self/')}"
    return f"/proc/{tid}/fd/{path.removeprefix('/dev/fd/')}" if path.startswith("/dev/fd/") else path


def _status_fields(tid: int) -> dict[str, str]:
    with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as lines:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _become(uid: int, gid: int) -> None:
    machine = architecture()
    # The group first: a user who is not root may not change it any more.
    system_call(machine.setfsgid, gid)
    system_call(machine.setfsuid, uid)


@contextlib.contextmanager
def acting_as(who: Credentials) -> Iterator[None]:
    """Make and open files with the program's owner, rights and umask. Needs root when the program is someone else.

    Only this thread changes, and only for the file system.
    """
    old_umask = os.umask(who.umask)
    other = os.geteuid() == 0 and (who.uid != 0 or who.gid != os.getegid())
    old_groups = os.getgroups() if other else []
    try:
        if other:
            os.setgroups(list(who.groups))
            _become(who.uid, who.gid)
        yield
    finally:
        if other:
            _become(os.geteuid(), os.getegid())
            os.setgroups(old_groups)
        os.umask(old_umask)
