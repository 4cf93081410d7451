"""What a power cut may leave of a directory: the durable tree, kept up to date, and the crash states to try. Pure.

POSIX promises only what fsync made durable. A file keeps, in order, the data operations since its last fsync; a
directory its entry operations. A rename between directories is one operation of both. Legal after a cut: of each file
and of each directory any prefix of its operations, the last write cut at any byte. Five kinds of state are built, which
lie at the corners: see `DurableTree.crash_states`. Not modelled: garbage or zeros that were never written, writes of
one file that overtake each other, and the loss of mode, owner and times.

After a failed fsync the operations until then are lost for good: a later fsync that succeeds does not bring them back
(Linux marks the pages clean; "Can Applications Recover from fsync Failures?", Rebello and others, USENIX ATC 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chaoskit.tap.names import printable

Inode = int
Entries = dict[str, Inode]


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """A new length: cut, or filled with zeros."""

    length: int


Change = Write | Resize


def apply_change(content: bytearray, change: Change) -> None:
    """Do one data operation to a file's content."""
    end = change.length if isinstance(change, Resize) else change.offset
    if end > len(content):
        content.extend(bytes(end - len(content)))
    if isinstance(change, Resize):
        del content[change.length :]
    else:
        content[change.offset : change.offset + len(change.data)] = change.data


@dataclass(slots=True)
class File:
    """A file's durable content, and what was done to it since."""

    durable: bytearray
    pending: list[Change] = field(default_factory=list)
    # Operations that a failed fsync has dropped: the program still reads them, the disk never gets them.
    dropped: bool = False

    def settle(self) -> None:
        """A successful fsync."""
        for change in self.pending:
            apply_change(self.durable, change)
        self.pending.clear()

    def drop(self) -> None:
        """A failed fsync."""
        self.dropped = self.dropped or bool(self.pending)
        self.pending.clear()

    def all(self) -> bytes:
        """The content when everything pending reaches the disk."""
        content = bytearray(self.durable)
        for change in self.pending:
            apply_change(content, change)
        return bytes(content)

    def half(self) -> bytes:
        """The content when half of the pending bytes do: the operations in order, the last write cut."""
        content = bytearray(self.durable)
        budget = sum(len(change.data) for change in self.pending if isinstance(change, Write)) // 2
        for change in self.pending:
            if isinstance(change, Write) and len(change.data) > budget:
                if budget:
                    apply_change(content, Write(change.offset, change.data[:budget]))
                break
            budget -= len(change.data) if isinstance(change, Write) else 0
            apply_change(content, change)
        return bytes(content)


@dataclass(frozen=True, slots=True)
class EntryChange:
    """One atomic operation on entries: in each named directory, names that now lead to an inode, or to nothing."""

    edits: tuple[tuple[Inode, str, Inode | None], ...]

    @property
    def directories(self) -> set[Inode]:
        """The directories it touches."""
        return {directory for directory, _, _ in self.edits}


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of a crash state: its kind (file, directory, link), its inode, its content or link text."""

    kind: str
    inode: Inode
    content: bytes = b""


Tree = dict[str, Node]


@dataclass(frozen=True, slots=True)
class CrashState:
    """A tree that a power cut may leave: path relative to the root -> Node, directories before what they hold.

    `lossless`: programs cannot tell it from the tree as it is, so the cut is no more than a kill.
    """

    name: str
    tree: Tree
    lossless: bool = False

    def contents(self) -> dict[str, tuple[str, bytes]]:
        """What a program can see of it, for comparing."""
        return {path: (node.kind, node.content) for path, node in self.tree.items()}


@dataclass(frozen=True, slots=True)
class Live:
    """The tree as programs see it now: entries of each directory, content of each file."""

    directories: Mapping[Inode, Entries]
    contents: Mapping[Inode, bytes]


class DurableTree:
    """The part of a directory tree that survives a power cut. Inodes are any numbers that are never used again."""

    def __init__(self, root: Inode) -> None:
        self.root = root
        self.directories: dict[Inode, Entries] = {root: {}}
        self.files: dict[Inode, File] = {}
        self.links: dict[Inode, bytes] = {}
        self._pending: list[EntryChange] = []

    def change_entries(self, *edits: tuple[Inode, str, Inode | None]) -> None:
        """An operation on entries that is not durable yet; a rename edits the old name and the new one."""
        self._pending.append(EntryChange(edits))

    def change_file(self, inode: Inode, change: Change) -> None:
        """A write or a change of length that is not durable yet."""
        self.files[inode].pending.append(change)

    def sync_directory(self, directory: Inode) -> None:
        """A successful fsync of a directory: its operations, and what must have happened before them elsewhere."""
        reached = {directory}
        kept: list[EntryChange] = []
        settled: list[EntryChange] = []
        for change in reversed(self._pending):
            if change.directories & reached:
                reached |= change.directories
                settled.append(change)
            else:
                kept.append(change)
        self._pending = kept[::-1]
        for change in reversed(settled):
            self._settle(change)

    def sync_everything(self) -> None:
        """sync()."""
        for change in self._pending:
            self._settle(change)
        self._pending.clear()
        for file in self.files.values():
            file.settle()

    def _settle(self, change: EntryChange) -> None:
        for directory, name, inode in change.edits:
            entries = self.directories.setdefault(directory, {})
            if inode is None:
                entries.pop(name, None)
            else:
                entries[name] = inode

    def references(self) -> set[Inode]:
        """The inodes that a crash state may still need."""
        found = {self.root}
        for entries in self.directories.values():
            found.update(entries.values())
        for change in self._pending:
            found.update(inode for directory, _, target in change.edits for inode in (directory, target or directory))
        return found

    def forget(self, inode: Inode) -> None:
        """Drop what is known of an inode that nothing refers to."""
        for known in (self.directories, self.files, self.links):
            known.pop(inode, None)

    def _node(self, inode: Inode, contents: Mapping[Inode, bytes]) -> Node:
        if inode in self.directories:
            return Node("directory", inode)
        if inode in self.links:
            return Node("link", inode, self.links[inode])
        return Node("file", inode, contents.get(inode, b""))

    def _tree(self, directories: Mapping[Inode, Entries], contents: Mapping[Inode, bytes]) -> Tree:
        tree: Tree = {}
        waiting = [("", self.root)]
        while waiting:
            prefix, directory = waiting.pop()
            for name, inode in sorted(directories.get(directory, {}).items()):
                tree[prefix + name] = self._node(inode, contents)
                if inode in self.directories:
                    waiting.append((f"{prefix}{name}/", inode))
        return dict(sorted(tree.items()))

    def _with_one(self, live: Live, path: str) -> dict[Inode, Entries]:
        """The durable entries, and those that lead to one file now: each inode on the way is where it is now."""
        directories = {inode: dict(entries) for inode, entries in self.directories.items()}
        directory = self.root
        for name in path.split("/"):
            inode = live.directories[directory][name]
            for other, entries in directories.items():
                now = live.directories.get(other, {})
                # A rename moves both names at once, so the old name goes.
                for old in [old for old, found in entries.items() if found == inode and now.get(old) != inode]:
                    del entries[old]
            directories.setdefault(directory, {})[name] = inode
            directory = inode
        return directories

    def _all(self, live: Live) -> dict[Inode, bytes]:
        # The live content also has what the tap did not see, but not what a failed fsync has dropped.
        return {
            inode: file.all() if file.dropped else live.contents.get(inode, file.all())
            for inode, file in self.files.items()
        }

    def crash_states(self, live: Live) -> list[CrashState]:
        """The states after a cut now, only those that differ; the first always exists.

        `min`: what fsync promised. `dirs`: all entries, the files' durable data (the empty file after a rename).
        `dirs+half`: also half of each file's unsynced bytes. `dirs+all`: everything, as after a kill (without what a
        failed fsync has dropped). `keep:PATH`, for each file: `min` and all of this one.
        """
        durable = {inode: bytes(file.durable) for inode, file in self.files.items()}
        half = {inode: file.half() for inode, file in self.files.items()}
        minimum, alive = self._tree(self.directories, durable), self._tree(live.directories, self._all(live))
        states = [
            CrashState("min", minimum),
            CrashState("dirs", self._tree(live.directories, durable)),
            CrashState("dirs+half", self._tree(live.directories, half)),
            CrashState("dirs+all", alive),
        ]
        for path, node in alive.items():
            if node.kind == "file" and minimum.get(path) != node:
                contents = durable | {node.inode: node.content}
                states.append(CrashState(f"keep:{printable(path)}", self._tree(self._with_one(live, path), contents)))
        now = CrashState("", alive).contents()
        return [replace(state, lossless=state.contents() == now) for state in _different(states)]


def _different(states: list[CrashState]) -> list[CrashState]:
    found: list[CrashState] = []
    seen: list[dict[str, tuple[str, bytes]]] = []
    for state in states:
        contents = state.contents()
        if contents not in seen:
            seen.append(contents)
            found.append(state)
    return found
