"""A machine for tests: real files in a directory, system calls that fail on purpose, a model of what is on disk.

`Machine` is passed to the libraries in the place of `os`. It counts the calls that change a file, kills (raises Crash)
before or inside one of them, or fails one with an errno or a short write. Beside the real tree it keeps the durable one
(per inode what the last fsync covered, per directory the entries that the last fsync covered), so that `power_cut` can
put the tree into a state that a power loss may leave. Bytes and entries whose fsync failed are lost until they are
written again. It does not call the real fsync: the model decides, and tests stay fast.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Crash(BaseException):
    """The process was killed. Not an Exception: no code under test may handle it."""


class Fault(NamedTuple):
    """What happens at the call number `at` (0 is the first changing call)."""

    at: int
    kind: str  # "kill", "tear", "short" or an errno name
    cut_bytes: int = 0


@dataclass
class _Inode:
    durable: bytes = b""
    lost: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class _Directory:
    entries: dict[str, object] = field(default_factory=dict)  # what programs see: name -> _Inode or _Directory
    durable: dict[str, object] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)


class Machine:
    """See the module. `root` must not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self._top = _Directory()
        self._fds: dict[int, tuple[object, str]] = {}
        self.faults: dict[int, Fault] = {}
        self.calls: list[str] = []
        self.is_dead = False

    # ---- life and death ----

    def plan(self, *faults: Fault) -> None:
        """Start counting calls from 0 again and arrange faults."""
        self.faults = {fault.at: fault for fault in faults}
        self.calls = []

    def restart(self) -> None:
        """Start a new life: descriptors of the old one are closed, files stay as the kernel has them."""
        for fd in list(self._fds):
            os.close(fd)
        self._fds.clear()
        self.is_dead = False
        self.faults = {}

    def power_cut(self, entries_of_kernel: bool = False, tail: float = 0.0, spared: str | None = None) -> None:
        """Put the tree into a state that a power loss may leave.

        Default: what is durable and nothing else. `entries_of_kernel`: all directory entries as programs saw them.
        `tail`: this share of the bytes behind the durable ones as well. `spared`: one path that kept everything.
        """
        self.restart()
        tree = self._plain(self._top, "", entries_of_kernel, tail, spared)
        shutil.rmtree(self.root)
        self.root.mkdir()
        self._top = self._rebuilt(tree, self.root)

    def _plain(self, node: object, path: str, of_kernel: bool, tail: float, spared: str | None) -> object:
        if isinstance(node, _Directory):
            names = dict(node.entries if of_kernel else node.durable)
            for name, child in node.entries.items():
                below = f"{path}/{name}".lstrip("/")
                if spared is not None and (spared == below or spared.startswith(below + "/")):
                    names[name] = child
            return {n: self._plain(c, f"{path}/{n}".lstrip("/"), of_kernel, tail, spared) for n, c in names.items()}
        assert isinstance(node, _Inode)
        real = self.root / path
        seen = real.read_bytes() if real.is_file() and self._node(str(real)) is node else node.durable
        if path == spared:
            return _without(seen, node.lost)
        extra = len(seen) - len(node.durable)
        return node.durable + seen[len(node.durable) :][: int(extra * tail)] if extra > 0 else node.durable

    def _rebuilt(self, tree: object, where: Path) -> _Directory:
        assert isinstance(tree, dict)
        directory = _Directory()
        for name, content in tree.items():
            if isinstance(content, bytes):
                (where / name).write_bytes(content)
                directory.entries[name] = _Inode(content)
            else:
                (where / name).mkdir()
                directory.entries[name] = self._rebuilt(content, where / name)
        directory.durable = dict(directory.entries)
        return directory

    # ---- the model ----

    def _parts(self, path: str) -> list[str]:
        relative = os.path.relpath(path, self.root)
        assert not relative.startswith(".."), f"a path outside of the machine: {path}"
        return [] if relative == "." else relative.split("/")

    def _node(self, path: str) -> object | None:
        node: object | None = self._top
        for part in self._parts(path):
            node = node.entries.get(part) if isinstance(node, _Directory) else None
        return node

    def _entry(self, path: str) -> tuple[_Directory, str]:
        parent = self._node(os.path.dirname(path))
        assert isinstance(parent, _Directory)
        parent.lost.discard(os.path.basename(path))
        return parent, os.path.basename(path)

    def _enter(self, what: str, write_bytes: int = 0, fd: int = -1, data: bytes = b"") -> int | None:
        """Count a call and let its fault happen; return a length in bytes for a short write."""
        if self.is_dead:
            raise Crash
        fault = self.faults.get(len(self.calls))
        self.calls.append(what)
        if fault is None:
            return None
        if fault.kind == "kill" or (fault.kind == "tear" and not write_bytes):
            self._die()
        if fault.kind == "tear":
            os.write(fd, data[: fault.cut_bytes])
            self._die()
        if fault.kind == "short":
            return min(fault.cut_bytes, write_bytes) if write_bytes else None
        raise OSError(getattr(errno, fault.kind), os.strerror(getattr(errno, fault.kind)))

    def _die(self) -> None:
        self.is_dead = True
        raise Crash

    # ---- the system calls ----

    def open(self, path: str, flags: int, mode: int = 0o644, /) -> int:
        is_new = bool(flags & os.O_CREAT) and not os.path.exists(path)
        if is_new or flags & os.O_TRUNC:
            self._enter(f"create {self._name(path)}")
        elif self.is_dead:
            raise Crash
        fd = os.open(path, flags, mode)
        if is_new:
            parent, name = self._entry(path)
            parent.entries[name] = _Inode()
        node = self._node(path)
        assert node is not None
        if flags & os.O_TRUNC and isinstance(node, _Inode):
            node.lost.clear()
        self._fds[fd] = (node, path)
        return fd

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self.root)

    def write(self, fd: int, data: bytes, /) -> int:
        short = self._enter(f"write {self._name(self._fds[fd][1])}", len(data), fd, data)
        return os.write(fd, data if short is None else data[:short])

    def fsync(self, fd: int, /) -> None:
        node, path = self._fds[fd]
        try:
            self._enter(f"fsync {self._name(path)}")
        except OSError:
            self._lose(node, fd)
            raise
        if isinstance(node, _Inode):
            node.durable = _without(_content(fd), node.lost)
        elif isinstance(node, _Directory):
            kept = {name: node.durable[name] for name in node.lost if name in node.durable}
            node.durable = {n: child for n, child in node.entries.items() if n not in node.lost} | kept

    def _lose(self, node: object, fd: int) -> None:
        if isinstance(node, _Inode):
            seen = _content(fd)
            start = len(os.path.commonprefix([node.durable, seen]))  # noqa: RUF071 - bytes, not paths.
            if start < len(seen):
                node.lost.append((start, len(seen)))
        elif isinstance(node, _Directory):
            names = set(node.entries) | set(node.durable)
            node.lost |= {name for name in names if node.entries.get(name) is not node.durable.get(name)}

    def ftruncate(self, fd: int, length: int, /) -> None:
        node, path = self._fds[fd]
        self._enter(f"truncate {self._name(path)}")
        os.ftruncate(fd, length)
        assert isinstance(node, _Inode)
        node.lost = [(start, min(end, length)) for start, end in node.lost if start < length]

    def close(self, fd: int, /) -> None:
        if fd in self._fds:
            del self._fds[fd]
            os.close(fd)

    def rename(self, src: str, dst: str, /) -> None:
        self._enter(f"rename {self._name(dst)}")
        os.rename(src, dst)
        source, old_name = self._entry(src)
        target, new_name = self._entry(dst)
        target.entries[new_name] = source.entries.pop(old_name)

    def unlink(self, path: str, /) -> None:
        if not os.path.exists(path) and not self.is_dead:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._enter(f"unlink {self._name(path)}")
        os.unlink(path)
        parent, name = self._entry(path)
        del parent.entries[name]

    def mkdir(self, path: str, mode: int = 0o755, /) -> None:
        self._enter(f"mkdir {self._name(path)}")
        os.mkdir(path, mode)
        parent, name = self._entry(path)
        parent.entries[name] = _Directory()

    def rmdir(self, path: str, /) -> None:
        self._enter(f"rmdir {self._name(path)}")
        os.rmdir(path)
        parent, name = self._entry(path)
        del parent.entries[name]


def _content(fd: int) -> bytes:
    with open(f"/proc/self/fd/{fd}", "rb") as file:
        return file.read()


def _without(content: bytes, lost: list[tuple[int, int]]) -> bytes:
    for start, end in lost:
        end = min(end, len(content))
        content = content[:start] + b"\0" * (end - start) + content[end:]
    return content
