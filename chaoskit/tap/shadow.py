"""Follows a watched directory on disk, so that a power cut can be played on it afterwards.

The Supervisor tells a Shadow of each call that it performed; `chaoskit.tap.powerloss` decides what is durable. One
Shadow lives as long as the directory, across all lives of the program. Files are known by inode, kept open (O_PATH)
so that a number is not used again. FIFOs, sockets and devices are left out: a cut removes them.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from chaoskit.tap.powerloss import CrashState, DurableTree, Entries, File, Inode, Live, Node, Resize, Write
from chaoskit.tap.target import Place

_INODES_KEPT = 200
_O_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Shadow:
    """The durable side of the directory `root` (as this process sees it). All that is there now counts as durable."""

    def __init__(self, root: Path) -> None:
        self._path = root
        self._numbers: dict[tuple[int, int], Inode] = {}
        self._held: dict[Inode, int] = {}
        self._next = 0
        self._begin()

    def _begin(self) -> None:
        self._root_fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._tree = DurableTree(self._number(os.fstat(self._root_fd), os.dup(self._root_fd)))
        for directory, entries in self._walk():
            self._tree.directories[directory] = entries

    def close(self) -> None:
        """Give all descriptors back."""
        for fd in (self._root_fd, *self._held.values()):
            os.close(fd)
        self._held.clear()
        self._numbers.clear()

    # What the Supervisor tells.

    def wrote(self, fd: int, start: int, size: int, *, durable: bool) -> None:
        """`size` bytes were written at `start`; `durable` when the descriptor or the call was synchronous."""
        inode = self._inode_of(fd)
        if inode not in self._tree.files:
            return
        self._tree.change_file(inode, Write(start, self._read(inode, start, size)))
        if durable:
            self._tree.files[inode].settle()

    def resized(self, fd: int, *, rewritten: bool = False) -> None:
        """The length changed; `rewritten` when bytes inside did as well (holes)."""
        inode = self._inode_of(fd)
        if inode not in self._tree.files:
            return
        if rewritten:
            self._tree.change_file(inode, Write(0, self._read(inode)))
        self._tree.change_file(inode, Resize(os.fstat(fd).st_size))

    def resized_at(self, place: Place) -> None:
        """The same, for a file that has no descriptor here."""
        fd = os.open(place.name, os.O_PATH | os.O_CLOEXEC, dir_fd=place.parent_fd)
        try:
            self.resized(fd)
        finally:
            os.close(fd)

    def synced(self, fd: int | None) -> None:
        """An fsync of a file or directory succeeded; None for everything."""
        if fd is None:
            self._tree.sync_everything()
            for directory, entries in self._walk():
                self._tree.directories[directory] = entries
            return
        inode = self._inode_of(fd)
        if inode in self._tree.files:
            self._settle(inode, os.fstat(fd).st_size)
        elif inode in self._tree.directories:
            self._tree.sync_directory(inode)
            # What the tap did not see is there as well.
            self._tree.directories[inode] = self._entries(inode)
        self._prune()

    def _settle(self, inode: Inode, length: int) -> None:
        file = self._tree.files[inode]
        file.settle()
        if file.dropped:
            file.dropped = file.durable != self._read(inode)
        elif len(file.durable) != length:
            file.durable[:] = self._read(inode)  # Something was written that the tap did not see.

    def sync_failed(self, fd: int | None) -> None:
        """An fsync was made to fail."""
        inode = None if fd is None else self._inode_of(fd)
        if inode in self._tree.files:
            self._tree.files[inode].drop()

    def appeared(self, place: Place) -> None:
        """An entry was created: a file, a directory, a link."""
        if place.watched:
            directory, inode = self._inode_of(place.parent_fd), self._inode_at(place)
            if inode is not None:
                self._tree.change_entries((directory, place.name.rstrip("/"), inode))

    def disappeared(self, place: Place) -> None:
        """An entry was removed."""
        if place.watched:
            self._tree.change_entries((self._inode_of(place.parent_fd), place.name.rstrip("/"), None))

    def renamed(self, source: Place, destination: Place) -> None:
        """One entry became another, or the two were exchanged; either may lie outside the root."""
        edits = [
            (self._inode_of(place.parent_fd), place.name.rstrip("/"), self._inode_at(place))
            for place in (source, destination)
            if place.watched
        ]
        self._tree.change_entries(*edits)

    # What the engine asks.

    def crash_states(self) -> list[CrashState]:
        """The trees that a power cut now may leave. The program should be dead."""
        directories = dict(self._walk())
        contents = {inode: self._read(inode) for inode in self._tree.files if self._is_linked(inode)}
        return self._tree.crash_states(Live(directories, contents))

    def apply(self, state: CrashState) -> None:
        """Make the directory look like this state; from now on that is durable. Every process must be dead.

        The directory itself stays (it may be a mount); what it holds is made anew, with mode and owner.
        """
        metadata = {inode: os.fstat(fd) for inode, fd in self._held.items()}
        _empty(self._root_fd)
        made: dict[Inode, str] = {}
        modes: list[tuple[str, os.stat_result]] = []
        for path, node in state.tree.items():
            first = made.setdefault(node.inode, path)
            if first != path and node.kind != "directory":
                os.link(first, path, src_dir_fd=self._root_fd, dst_dir_fd=self._root_fd, follow_symlinks=False)
                continue
            _make(self._root_fd, path, node)
            modes.append((path, metadata[node.inode]))
        # Last and from the inside out, for a directory may be read-only.
        for path, status in reversed(modes):
            _restore(self._root_fd, path, status)
        self.close()
        self._begin()

    # Inodes and their numbers.

    def _number(self, status: os.stat_result, fd: int) -> Inode:
        """The inode's number; `fd` (O_PATH) is kept when it is new, else closed."""
        key = (status.st_dev, status.st_ino)
        known = self._numbers.get(key)
        if known is not None:
            os.close(fd)
            return known
        self._next += 1
        self._numbers[key] = self._next
        self._held[self._next] = fd
        return self._next

    def _register(self, status: os.stat_result, fd: int) -> Inode | None:
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            os.close(fd)
            return None
        inode = self._number(status, fd)
        if stat.S_ISDIR(status.st_mode):
            self._tree.directories.setdefault(inode, {})
        elif stat.S_ISLNK(status.st_mode):
            self._tree.links[inode] = os.fsencode(os.readlink("", dir_fd=self._held[inode]))
        else:
            self._add_file(inode)
        return inode

    def _add_file(self, inode: Inode) -> None:
        # A file that comes from elsewhere, or that the tap did not see, counts as durable: no false alarms.
        if inode not in self._tree.files:
            self._tree.files[inode] = File(bytearray(self._read(inode)))

    def _inode_of(self, fd: int) -> Inode:
        status = os.fstat(fd)
        known = self._numbers.get((status.st_dev, status.st_ino))
        if known is not None:
            return known
        return self._register(status, os.open(f"/proc/self/fd/{fd}", os.O_PATH | os.O_CLOEXEC)) or 0

    def _inode_at(self, place: Place) -> Inode | None:
        return self._look(place.parent_fd, place.name.rstrip("/"))

    def _look(self, directory_fd: int, name: str) -> Inode | None:
        try:
            fd = os.open(name, _O_LOOK, dir_fd=directory_fd)
        except FileNotFoundError:
            return None
        return self._register(os.fstat(fd), fd)

    def _entries(self, directory: Inode) -> Entries:
        fd = self._held[directory]
        found = {name: self._look(fd, name) for name in os.listdir(f"/proc/self/fd/{fd}")}
        return {name: inode for name, inode in found.items() if inode is not None}

    def _walk(self) -> Iterator[tuple[Inode, Entries]]:
        waiting = [self._tree.root]
        while waiting:
            directory = waiting.pop()
            entries = self._entries(directory)
            yield directory, entries
            waiting += [inode for inode in entries.values() if inode in self._tree.directories]

    def _read(self, inode: Inode, start: int = 0, size: int | None = None) -> bytes:
        with open(f"/proc/self/fd/{self._held[inode]}", "rb", buffering=0) as file:
            file.seek(start)
            return file.read() if size is None else file.read(size)

    def _is_linked(self, inode: Inode) -> bool:
        return os.fstat(self._held[inode]).st_nlink > 0

    def _prune(self) -> None:
        if len(self._held) <= _INODES_KEPT:
            return
        needed = self._tree.references()
        for inode in [inode for inode in self._held if inode not in needed and not self._is_linked(inode)]:
            status = os.fstat(self._held[inode])
            del self._numbers[status.st_dev, status.st_ino]
            os.close(self._held.pop(inode))
            self._tree.forget(inode)


def _empty(directory_fd: int) -> None:
    for name in os.listdir(directory_fd):
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=directory_fd)
            continue
        os.chmod(name, 0o700, dir_fd=directory_fd)
        inner_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
        try:
            _empty(inner_fd)
        finally:
            os.close(inner_fd)
        os.rmdir(name, dir_fd=directory_fd)


def _make(root_fd: int, path: str, node: Node) -> None:
    if node.kind == "directory":
        os.mkdir(path, 0o700, dir_fd=root_fd)
    elif node.kind == "link":
        os.symlink(node.content, path, dir_fd=root_fd)
    else:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=root_fd)
        with open(fd, "wb") as file:
            file.write(node.content)


def _restore(root_fd: int, path: str, status: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, status.st_uid, status.st_gid, dir_fd=root_fd, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(path, stat.S_IMODE(status.st_mode), dir_fd=root_fd)
