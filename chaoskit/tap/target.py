"""A program's processes as the supervisor sees them: descriptors, memory, credentials, and where a path leads.

Thread ids come from notifications; a process is opened (pidfd) once and kept. Paths are resolved as the program would:
with its working directory, its root and, in `acting_as`, its rights. Nothing here changes a file.
"""

import contextlib
import errno
import os
import re
import select
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.tap.kernel import Memory, open_beneath, open_in_root, system_call, take_fd
from chaoskit.tap.names import stable_name
from chaoskit.tap.rights import lacking, status_fields, with_file_rights_of
from chaoskit.tap.syscalls import AT_FDCWD, architecture

_LINKS_MAX = 40  # The kernel's own limit for symbolic links in one path.
_PROCESSES_MAX = 512
_UNLIMITED_FILES = re.compile(r"Max file size +unlimited ")
_VIEW = ("ns/mnt", "root")
_O_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Unreachable(Exception):
    """This process may not look into the program's processes, so the tap cannot do its work."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a thread is for the file system: fsuid, fsgid, groups, its umask, and its effective capabilities."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    capabilities: int


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
        self._given_root = root
        self._known = False
        self._watch_below(os.path.realpath(root))
        self.memory = Memory()
        self.tid = self.pid = 0
        self._pidfd = -1
        self._pids: dict[int, int] = {}
        self._pidfds: dict[int, int] = {}
        self._unlimited: set[int] = set()
        self.limits_change = False
        # The entries looked up for the present call; those that a failed look-up left open are closed with the next.
        self._places: list[Place] = []
        self._own_view = {name: os.stat(f"/proc/self/{name}") for name in _VIEW}

    def _watch_below(self, root: str) -> None:
        self.root = root
        self._prefix = root.rstrip("/") + "/"

    def close(self) -> None:
        """Give all descriptors back."""
        for place in self._places:
            place.close()
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        self._pidfds.clear()
        self._pids.clear()
        self._unlimited.clear()

    @property
    def pids(self) -> list[int]:
        """The processes that made a watched call and still run."""
        gone = select.poll()
        for pidfd in self._pidfds.values():
            gone.register(pidfd, select.POLLIN)
        dead = {pidfd for pidfd, _ in gone.poll(0)}
        return [pid for pid, pidfd in self._pidfds.items() if pidfd not in dead]

    def enter(self, tid: int) -> None:
        """Turn to the process of a thread: `tid` and `pid` from now on. Raises OSError when it is gone, Unreachable."""
        while self._places:
            self._places.pop().close()
        pid = self._pids.get(tid)
        if pid is None:
            if len(self._pids) > _PROCESSES_MAX:
                self.close()
            pid = self._pids[tid] = self._open(tid)
        self.tid, self.pid, self._pidfd = tid, pid, self._pidfds[pid]

    def _open(self, tid: int) -> int:
        if not tid:
            raise Unreachable(
                "the program's processes have no number in this PID namespace: give the tap's container pid: host"
            )
        try:
            os.readlink(f"/proc/{tid}/cwd")
        except PermissionError as error:
            raise Unreachable(
                f"process {tid} cannot be inspected ({error.strerror}): run as its user or as root, "
                "in a container with the capability SYS_PTRACE"
            ) from error
        pid = int(status_fields(tid)["Tgid"])
        if pid not in self._pidfds:
            pidfd = os.pidfd_open(pid)
            try:
                self._meet(pid, pidfd)
            except BaseException:
                os.close(pidfd)
                raise
            self._pidfds[pid], self._known = pidfd, True
        return pid

    def _meet(self, pid: int, pidfd: int) -> None:
        """Look at a process for the first time: whether all is allowed that will be needed, and where the root is."""
        self._probe(pid, pidfd)
        if self._known or self._shares(pid, "ns/mnt"):
            return
        if os.geteuid() == 0 and (missing := lacking()):
            raise Unreachable(f"the tap's container lacks {missing}: add that to its capabilities (cap_add)")
        # Links on the way to the root lead somewhere else there than here.
        self._watch_below(_real_path_in(pid, str(self._given_root)))

    def probe(self) -> None:
        """Raises Unreachable when the present process's memory or descriptors are closed to us."""
        self._probe(self.pid, self._pidfd)

    def _probe(self, pid: int, pidfd: int) -> None:
        steps: tuple[tuple[str, Callable[[], object]], ...] = (
            ("read its memory", lambda: self.memory.fill(pid, 0, 1)),
            ("take a descriptor of it", lambda: os.close(take_fd(pidfd, 0))),
        )
        for what, step in steps:
            try:
                step()
            except PermissionError as error:
                raise Unreachable(
                    f"process {pid} can be seen, but we may not {what} ({error.strerror}): "
                    "the tap's container needs SYS_PTRACE, and a security profile that lets it trace the program"
                ) from error
            except OSError:
                continue  # Nothing is at address 0, and descriptor 0 may be closed: we were let through.

    def take_fd(self, fd: int) -> int:
        """A duplicate of the program's descriptor. Raises OSError, EBADF as the program would get it."""
        try:
            return take_fd(self._pidfd, fd)
        except ProcessLookupError:
            # The number belonged to a process that is gone; the thread that is held now is another one.
            os.close(self._pidfds.pop(self.pid))
            self._pids.pop(self.tid)
            self.enter(self.tid)
            return take_fd(self._pidfd, fd)

    def may_grow_files(self) -> bool:
        """Whether the process has no limit on the size of files (RLIMIT_FSIZE), which only the kernel can apply."""
        pid = self.pid
        if pid not in self._unlimited or self.limits_change:
            if not _unlimited_files(pid):
                return False
            self._unlimited.add(pid)
        return True

    def under_root(self, link: str) -> str | None:
        """The path relative to the root ("." for itself), None when it lies outside."""
        if link.startswith(self._prefix):
            return link[len(self._prefix) :]
        return "." if link == self.root else None

    def credentials(self, tid: int) -> Credentials:
        """Read now, for a program may change them. Raises OSError when the thread is gone."""
        found = status_fields(tid)
        groups = tuple(int(group) for group in found["Groups"].split())
        umask, capabilities = int(found["Umask"], 8), int(found["CapEff"], 16)
        return Credentials(int(found["Uid"].split()[3]), int(found["Gid"].split()[3]), groups, umask, capabilities)

    def resolve(self, tid: int, dir_fd: int, path: str, *, follow: bool = False) -> Place:
        """Where a path of the program leads; `follow` goes through a symbolic link at its end. Raises OSError.

        An empty path, and one that ends in "." or "..", has no entry to change: EINVAL.
        """
        base_fd = -1 if path.startswith("/") else _open_base(tid, dir_fd)
        for _ in range(_LINKS_MAX):
            try:
                place = self._entry(tid, base_fd, path)
            finally:
                if base_fd >= 0:
                    os.close(base_fd)
            found = place.status() if follow else None
            if found is None or not stat.S_ISLNK(found.st_mode):
                return place
            path = os.readlink(place.name, dir_fd=place.parent_fd)
            base_fd = os.dup(place.parent_fd)
            place.close()
        os.close(base_fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def _entry(self, tid: int, base_fd: int, path: str) -> Place:
        directory, name = os.path.split(path.rstrip("/"))
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        parent_fd = self._open_directory(tid, base_fd, directory) if directory else os.dup(base_fd)
        inside = self.under_root(os.readlink(f"/proc/self/fd/{parent_fd}"))
        relative = name if inside == "." else f"{inside}/{name}"
        # A slash at the end has a meaning ("must be a directory") that only the kernel can check.
        place = Place(parent_fd, name + "/" * path.endswith("/"), stable_name(relative), inside is not None)
        self._places.append(place)
        return place

    def _open_directory(self, tid: int, base_fd: int, directory: str) -> int:
        own = _own_proc(tid, directory)
        # What a program calls its own /proc entry has another name in a container's /proc, and none for us there.
        if own != directory or self._shares_view(tid):
            return os.open(own, _O_DIRECTORY, dir_fd=None if base_fd < 0 else base_fd)
        if base_fd >= 0:
            with contextlib.suppress(OSError):
                return open_beneath(base_fd, directory)
            # Of a chroot in our own view of mounts, /proc tells the way from our root.
            base = os.readlink(f"/proc/self/fd/{base_fd}").removeprefix(os.readlink(f"/proc/{tid}/root").rstrip("/"))
            directory = os.path.join(base or "/", directory)
        root_fd = os.open(f"/proc/{tid}/root", _O_DIRECTORY)
        try:
            return open_in_root(root_fd, directory)
        finally:
            os.close(root_fd)

    def _shares_view(self, tid: int) -> bool:
        # Asked each time: a program may change its root.
        return all(self._shares(tid, name) for name in _VIEW)

    def _shares(self, tid: int, name: str) -> bool:
        return os.path.samestat(os.stat(f"/proc/{tid}/{name}"), self._own_view[name])


def _open_base(tid: int, dir_fd: int) -> int:
    # Through /proc, no right to search the directories above is needed, as for the program itself.
    return os.open(f"/proc/{tid}/" + ("cwd" if dir_fd == AT_FDCWD else f"fd/{dir_fd}"), _O_DIRECTORY)


def _own_proc(tid: int, path: str) -> str:
    # "self" would mean the supervisor here.
    if path.startswith("/proc/self/"):
        return f"/proc/{tid}/{path.removeprefix('/proc/self/')}"
    return f"/proc/{tid}/fd{path.removeprefix('/dev/fd')}" if f"{path}/".startswith("/dev/fd/") else path


def _real_path_in(pid: int, path: str) -> str:
    """What `path` is as the process sees it, without links; what is not there yet is taken as it is written."""
    there, missing = path, ""
    root_fd = os.open(f"/proc/{pid}/root", _O_DIRECTORY)
    try:
        while True:
            try:
                fd = open_in_root(root_fd, there or "/")
            except (FileNotFoundError, NotADirectoryError):
                there, _, name = there.rpartition("/")
                missing = f"/{name}{missing}"
                continue
            try:
                return (os.readlink(f"/proc/self/fd/{fd}").rstrip("/") + missing) or "/"
            finally:
                os.close(fd)
    finally:
        os.close(root_fd)


def _unlimited_files(pid: int) -> bool:
    # prlimit(2) would need CAP_SYS_RESOURCE for a process of another user.
    with open(f"/proc/{pid}/limits", encoding="ascii") as lines:
        return any(_UNLIMITED_FILES.match(line) for line in lines)


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
    privileged = os.geteuid() == 0
    rights = with_file_rights_of(who.uid, who.capabilities) if privileged else contextlib.nullcontext()
    old_groups = os.getgroups() if privileged else []
    other = privileged and (who.uid != 0 or who.gid != os.getegid() or list(who.groups) != old_groups)
    old_umask = os.umask(who.umask)
    try:
        if other:
            os.setgroups(list(who.groups))
            _become(who.uid, who.gid)
        with rights:
            yield
    finally:
        if other:
            _become(os.geteuid(), os.getegid())
            os.setgroups(old_groups)
        os.umask(old_umask)
