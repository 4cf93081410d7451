"""Power loss: what a Shadow calls durable, against a naive model; and what a program that trusts the cache loses."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaoskit.tap import Rule, Shadow
from chaoskit.tap.target import Place

from .conftest import Outcome

Python = Callable[..., Outcome]
Contents = dict[str, tuple[str, bytes]]


@dataclass
class Operation:
    """One logged operation of the naive model, with what became of it: pending, durable or dropped."""

    what: Any
    state: str = "pending"


def replay(base: bytes, steps: list[Any]) -> bytes:
    """A file's content, built byte by byte."""
    content = list(base)
    for kind, at, byte in steps:
        if kind == "resize":
            content = [content[i] if i < len(content) else 0 for i in range(at)]
        else:
            content += [0] * (at + 1 - len(content))
            content[at] = byte
    return bytes(content)


@dataclass
class NaiveFile:
    """Every operation that a file has ever seen, in order."""

    base: bytes = b""
    log: list[Operation] = field(default_factory=list)

    def bytes_of(self, *states: str) -> list[Any]:
        return [step for operation in self.log if operation.state in states for step in operation.what]

    def half(self) -> bytes:
        pending = self.bytes_of("pending")
        budget = sum(step[0] == "byte" for step in pending) // 2
        taken = []
        for step in pending:
            if step[0] == "byte":
                if budget == 0:
                    break
                budget -= 1
            taken.append(step)
        return replay(self.base, self.bytes_of("durable") + taken)


class NaiveTree:
    """Replays whole histories to say what is durable; slow and simple."""

    def __init__(self) -> None:
        self.files: dict[int, NaiveFile] = {}
        self.directories: set[int] = {0}
        self.base: dict[int, dict[str, int]] = {0: {}}
        self.log: list[Operation] = []
        self.next = 1

    def entries(self, *states: str) -> dict[int, dict[str, int]]:
        found = {inode: dict(self.base.get(inode, {})) for inode in self.directories}
        for operation in self.log:
            if operation.state in states:
                for directory, name, inode in operation.what:
                    found[directory].pop(name, None)
                    if inode is not None:
                        found[directory][name] = inode
        return found

    def live(self) -> dict[int, dict[str, int]]:
        return self.entries("pending", "durable")

    def paths(self, entries: dict[int, dict[str, int]]) -> dict[str, int]:
        def below(directory: int, prefix: str) -> dict[str, int]:
            found: dict[str, int] = {}
            for name, inode in entries[directory].items():
                found[prefix + name] = inode
                if inode in self.directories:
                    found |= below(inode, f"{prefix}{name}/")
            return found

        return below(0, "")

    def sync_directory(self, directory: int) -> None:
        reached = [operation for operation in self.log if any(edit[0] == directory for edit in operation.what)]
        while reached:
            for operation in reached:
                operation.state = "durable"
            reached = [
                early
                for index, early in enumerate(self.log)
                if early.state == "pending"
                and any(late.state == "durable" and touched(early) & touched(late) for late in self.log[index:])
            ]

    def tree(self, entries: dict[int, dict[str, int]], content: Callable[[int], bytes]) -> Contents:
        return {
            path: ("directory", b"") if inode in self.directories else ("file", content(inode))
            for path, inode in self.paths(entries).items()
        }

    def durable(self, inode: int) -> bytes:
        return replay(self.files[inode].base, self.files[inode].bytes_of("durable"))

    def everything(self, inode: int) -> bytes:
        return replay(self.files[inode].base, self.files[inode].bytes_of("durable", "pending"))

    def keep(self, path: str) -> Contents:
        live, entries = self.live(), self.entries("durable")
        chain, directory = [], 0
        for name in path.split("/"):
            chain.append((directory, name, live[directory][name]))
            directory = live[directory][name]
        wanted = {inode for _, _, inode in chain}
        for owner in entries:
            entries[owner] = {
                name: inode
                for name, inode in entries[owner].items()
                if inode not in wanted or live[owner].get(name) == inode
            }
        for owner, name, inode in chain:
            entries[owner][name] = inode
        kept = chain[-1][2]
        return self.tree(entries, lambda inode: self.everything(inode) if inode == kept else self.durable(inode))

    def states(self) -> dict[str, Contents]:
        live, durable = self.live(), self.entries("durable")
        states = {
            "min": self.tree(durable, self.durable),
            "dirs": self.tree(live, self.durable),
            "dirs+half": self.tree(live, lambda inode: self.files[inode].half()),
            "dirs+all": self.tree(live, self.everything),
        }
        safe = self.paths(durable)
        for path, inode in self.paths(live).items():
            as_it_was = (
                safe.get(path) == inode and inode in self.files and self.durable(inode) == self.everything(inode)
            )
            if inode in self.files and not as_it_was:
                states[f"keep:{path}"] = self.keep(path)
        return states


def touched(operation: Operation) -> set[int]:
    return {directory for directory, _, _ in operation.what}


def on_disk(root: Path) -> Contents:
    found: Contents = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", os.fsencode(os.readlink(path)))
        else:
            found[name] = ("directory", b"") if path.is_dir() else ("file", path.read_bytes())
    return found


class PowerLoss(RuleBasedStateMachine):
    """Real operations on a real directory, told to a Shadow and to the naive model."""

    names = st.sampled_from(["a", "b", "c", "d"])

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name) / "root"
        self.root.mkdir()
        self.shadow = Shadow(self.root)
        self.model = NaiveTree()

    def teardown(self) -> None:
        self.shadow.close()
        self.folder.cleanup()

    # Choosing among what is there.

    def pick(self, data: st.DataObject, kind: str) -> tuple[str, int]:
        paths = self.model.paths(self.model.live())
        fitting = {path: inode for path, inode in paths.items() if (inode in self.model.files) == (kind == "file")}
        if kind == "directory":
            fitting["."] = 0
        path = data.draw(st.sampled_from(sorted(fitting)))
        return path, fitting[path]

    def place(self, directory: str, name: str) -> Place:
        parent_fd = os.open(self.root / directory, os.O_PATH | os.O_DIRECTORY)
        return Place(parent_fd, name, os.path.normpath(f"{directory}/{name}"), True)

    def has_files(self) -> bool:
        return any(inode in self.model.files for inode in self.model.paths(self.model.live()).values())

    # Operations.

    @rule(data=st.data(), name=names, directory=st.booleans())
    def create(self, data: st.DataObject, name: str, directory: bool) -> None:
        where, owner = self.pick(data, "directory")
        target = self.root / where / name
        if target.exists():
            return
        target.mkdir() if directory else target.touch()
        place = self.place(where, name)
        self.shadow.appeared(place)
        place.close()
        inode, self.model.next = self.model.next, self.model.next + 1
        if directory:
            self.model.directories.add(inode)
        else:
            self.model.files[inode] = NaiveFile()
        self.model.log.append(Operation([(owner, name, inode)]))

    @precondition(has_files)
    @rule(data=st.data(), offset=st.integers(0, 12), text=st.binary(min_size=1, max_size=9), durable=st.booleans())
    def write(self, data: st.DataObject, offset: int, text: bytes, durable: bool) -> None:
        path, inode = self.pick(data, "file")
        fd = os.open(self.root / path, os.O_WRONLY)
        os.pwrite(fd, text, offset)
        self.shadow.wrote(fd, offset, len(text), durable=durable)
        os.close(fd)
        file = self.model.files[inode]
        file.log.append(Operation([("byte", offset + i, byte) for i, byte in enumerate(text)]))
        if durable:
            self.settle(inode, "durable")

    @precondition(has_files)
    @rule(data=st.data(), length=st.integers(0, 12))
    def truncate(self, data: st.DataObject, length: int) -> None:
        path, inode = self.pick(data, "file")
        os.truncate(self.root / path, length)
        place = self.place(os.path.dirname(path) or ".", os.path.basename(path))
        self.shadow.resized_at(place)
        place.close()
        self.model.files[inode].log.append(Operation([("resize", length, None)]))

    def settle(self, inode: int, state: str) -> None:
        for operation in self.model.files[inode].log:
            if operation.state == "pending":
                operation.state = state

    @precondition(has_files)
    @rule(data=st.data(), fails=st.sampled_from([False, False, False, True]))
    def sync_file(self, data: st.DataObject, fails: bool) -> None:
        path, inode = self.pick(data, "file")
        fd = os.open(self.root / path, os.O_RDONLY)
        (self.shadow.sync_failed if fails else self.shadow.synced)(fd)
        os.close(fd)
        self.settle(inode, "dropped" if fails else "durable")

    @rule(data=st.data())
    def sync_directory(self, data: st.DataObject) -> None:
        path, inode = self.pick(data, "directory")
        fd = os.open(self.root / path, os.O_RDONLY)
        self.shadow.synced(fd)
        os.close(fd)
        self.model.sync_directory(inode)

    @rule(data=st.data(), name=names)
    def rename(self, data: st.DataObject, name: str) -> None:
        paths = self.model.paths(self.model.live())
        if not paths:
            return
        old = data.draw(st.sampled_from(sorted(paths)))
        where, owner = self.pick(data, "directory")
        source = self.place(os.path.dirname(old) or ".", os.path.basename(old))
        destination = self.place(where, name)
        same = (self.root / where / name).exists() and os.path.samefile(self.root / old, self.root / where / name)
        try:
            os.rename(self.root / old, self.root / where / name)
        except OSError:
            return
        finally:
            source.close() if same else None
        if not same:
            self.shadow.renamed(source, destination)
            live = self.model.live()
            above = 0 if not os.path.dirname(old) else self.model.paths(live)[os.path.dirname(old)]
            edits = [(above, os.path.basename(old), None), (owner, name, paths[old])]
            self.model.log.append(Operation(edits))
            source.close()
        destination.close()

    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        paths = self.model.paths(self.model.live())
        if not paths:
            return
        path = data.draw(st.sampled_from(sorted(paths)))
        try:
            (self.root / path).rmdir() if (self.root / path).is_dir() else (self.root / path).unlink()
        except OSError:
            return
        directory, name = os.path.split(path)
        place = self.place(directory or ".", name)
        self.shadow.disappeared(place)
        place.close()
        self.model.log.append(Operation([(paths[directory] if directory else 0, name, None)]))

    @precondition(has_files)
    @rule(data=st.data(), name=names)
    def link(self, data: st.DataObject, name: str) -> None:
        path, inode = self.pick(data, "file")
        where, owner = self.pick(data, "directory")
        if (self.root / where / name).exists():
            return
        os.link(self.root / path, self.root / where / name)
        place = self.place(where, name)
        self.shadow.appeared(place)
        place.close()
        self.model.log.append(Operation([(owner, name, inode)]))

    @rule()
    def sync_everything(self) -> None:
        self.shadow.synced(None)
        for operation in self.model.log:
            operation.state = "durable"
        for inode in self.model.files:
            self.settle(inode, "durable")

    @rule(data=st.data())
    def cut_the_power(self, data: st.DataObject) -> None:
        state = data.draw(st.sampled_from(self.shadow.crash_states()))
        self.shadow.apply(state)
        assert on_disk(self.root) == state.contents()
        assert [after.name for after in self.shadow.crash_states()] == ["min"]
        self.start_again(state)

    def start_again(self, state: Any) -> None:
        """The model takes the tree that is there as its beginning."""
        model = self.model = NaiveTree()
        known: dict[int, int] = {}
        owners = {"": 0}
        for path, node in state.tree.items():
            if node.inode not in known:
                known[node.inode], model.next = model.next, model.next + 1
                if node.kind == "directory":
                    model.directories.add(known[node.inode])
                    model.base[known[node.inode]] = {}
                else:
                    model.files[known[node.inode]] = NaiveFile(node.content)
            owners[path] = known[node.inode]
            directory, name = os.path.split(path)
            model.base[owners[directory]][name] = known[node.inode]

    @invariant()
    def the_states_are_those_of_the_naive_model(self) -> None:
        if not hasattr(self, "shadow"):
            return
        expected = self.model.states()
        found = {state.name: state.contents() for state in self.shadow.crash_states()}
        assert "min" in found
        for name, contents in found.items():
            assert contents == expected[name], name
        # Only states that differ are listed, and none that differs is left out.
        distinct = {repr(sorted(contents.items())) for contents in expected.values()}
        assert len(found) == len(distinct) == len({repr(sorted(contents.items())) for contents in found.values()})


TestPowerLoss = PowerLoss.TestCase
TestPowerLoss.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


ATOMIC_REPLACE = """
    f = os.open("new", os.O_CREAT | os.O_WRONLY)
    os.write(f, b"new state")
    {fsync}
    os.rename("new", "state")
    {dirsync}
    os.mkdir("end")
"""


@pytest.mark.parametrize(
    ("fsync", "dirsync", "seen"),
    [
        ("", "", {"old state", "", "new ", "new state"}),
        ("os.fsync(f)", "", {"old state", "new state"}),
        ("os.fsync(f)", "os.fsync(os.open('.', 0))", {"new state"}),
        ("", "os.fsync(os.open('.', 0))", {"", "new ", "new state"}),
    ],
)
def test_a_power_cut_after_a_replacement_shows_what_was_not_synced(
    python: Python, root: Path, fsync: str, dirsync: str, seen: set[str]
) -> None:
    (root / "state").write_text("old state")
    shadow = Shadow(root)
    python(ATOMIC_REPLACE.format(fsync=fsync, dirsync=dirsync), Rule("r", op="mkdir", path="end"), shadow=shadow)
    states = [state.contents().get("state", ("", b"gone"))[1].decode() for state in shadow.crash_states()]
    assert set(states) == seen
    shadow.close()


def test_the_calls_of_a_program_make_the_same_tree_durable_as_on_disk(python: Python, root: Path) -> None:
    (root.parent / "digits").write_bytes(b"0123456789")
    shadow = Shadow(root)
    source = """
        os.mkdir("d"); os.open("d/empty", os.O_CREAT)
        a = os.open("a", os.O_CREAT | os.O_RDWR | os.O_APPEND)
        os.write(a, b"12345"); os.pwrite(a, b"67", 0); os.writev(a, [b"8", b"9"]); os.ftruncate(a, 8)
        b = os.open("d/b", os.O_CREAT | os.O_WRONLY)
        os.pwrite(b, b"xyz", 5); os.pwritev(b, [b"0", b"1"], -1, os.RWF_SYNC); os.write(b, b"2")
        os.sendfile(b, os.open("../digits", 0), 3, 4)
        os.copy_file_range(os.open("../digits", 0), b, 2)
        os.posix_fallocate(b, 0, 40)
        os.link("a", "d/hard"); os.symlink("../a", "d/soft"); os.rename("a", "d/a"); os.unlink("d/empty")
        os.open("d/b", os.O_TRUNC | os.O_WRONLY); os.write(b, b"tail"); os.truncate("d/a", 5)
    """
    outcome = python(source, shadow=shadow)
    assert outcome.code == 0, outcome.output
    named = {state.name: state.contents() for state in shadow.crash_states()}
    assert named["dirs+all"] == on_disk(root)
    assert named["min"] == {}
    shadow.synced(None)
    assert [state.name for state in shadow.crash_states()] == ["min"]
    shadow.close()


def test_an_injected_fsync_error_loses_the_bytes_for_good(python: Python, root: Path) -> None:
    shadow = Shadow(root)
    source = """
        f = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.fsync(os.open(".", os.O_RDONLY))
        os.write(f, b"lost")
        try:
            os.fsync(f)
        except OSError:
            os.fsync(f)
    """
    python(source, Rule("r", op="fsync", path="f", action="errno", errno="EIO"), shadow=shadow)
    assert [state.contents() for state in shadow.crash_states()] == [{"f": ("file", b"")}]
    assert (root / "f").read_bytes() == b"lost"
    shadow.close()


def test_applying_a_state_keeps_modes_owners_links_and_the_directory_itself(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "f").write_text("content")
    os.link(root / "d" / "f", root / "hard")
    os.symlink("d/f", root / "soft")
    (root / "d" / "f").chmod(0o640)
    (root / "d").chmod(0o500)
    if os.geteuid() == 0:
        os.chown(root / "d", 1234, 1235)
    itself = root.stat().st_ino
    shadow = Shadow(root)
    (root / "late").write_text("not synced")
    shadow.apply(shadow.crash_states()[0])
    shadow.close()
    # What nobody told the shadow of counts as durable.
    assert (root / "soft").read_text() == "content"
    assert os.path.samefile(root / "hard", root / "d" / "f")
    assert (root / "hard").stat().st_mode & 0o777 == 0o640
    assert (root / "d").stat().st_mode & 0o777 == 0o500
    assert (root / "d").stat().st_uid == (1234 if os.geteuid() == 0 else os.geteuid())
    assert root.stat().st_ino == itself
    assert not (root / "late").exists()


def test_a_thousand_replaced_files_keep_few_descriptors_open(root: Path) -> None:
    shadow = Shadow(root)
    directory_fd = os.open(root, os.O_RDONLY)
    for n in range(1000):
        (root / "tmp").write_bytes(b"%d" % n)
        os.rename(root / "tmp", root / "state")
        shadow.synced(directory_fd)
    assert len(os.listdir("/proc/self/fd")) < 400
    assert shadow.crash_states()[0].contents() == {"state": ("file", b"999")}
    os.close(directory_fd)
    shadow.close()
