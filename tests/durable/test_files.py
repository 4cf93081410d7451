"""Disk: whole or absent, undone after an error, and honest about what it can no longer promise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaoskit.durable.errors import MustExitError, UnsafeNameError, WriteFailedError
from chaoskit.durable.files import Disk, file_size, whole_lines_bytes
from chaoskit.durable.names import is_safe_name, safe_name

from .machine import Crash, Fault, Machine


@pytest.fixture
def machine(quick_path: Path) -> Machine:
    return Machine(quick_path / "root")


def test_append_puts_the_header_into_an_empty_file_that_exists_already(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    disk = Disk()
    assert disk.append(path, b"one\n", header=b"head\n") == 5
    assert disk.append(path, b"two\n", header=b"head\n") == 9
    assert path.read_bytes() == b"head\none\ntwo\n"


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "EINTR"])
@pytest.mark.parametrize("at", range(3))
def test_a_failed_append_leaves_the_file_as_it_was(machine: Machine, kind: str, at: int) -> None:
    disk, path = Disk(machine), machine.root / "f"
    disk.append(path, b"one\n")
    machine.plan(Fault(0, "short", cut_bytes=2), Fault(at, kind))
    if at == 2:
        machine.plan(Fault(0, "short", cut_bytes=2), Fault(1, "short", cut_bytes=1), Fault(2, kind))
    with pytest.raises(WriteFailedError, match=r"cannot append to .*/f: .*try again later"):
        disk.append(path, b"two\n")
    assert path.read_bytes() == b"one\n"
    disk.append(path, b"two\n")
    machine.power_cut()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_failed_directory_fsync_takes_a_new_file_away_again(machine: Machine) -> None:
    disk, path = Disk(machine), machine.root / "f"
    machine.plan(Fault(3, "EIO"))
    with pytest.raises(WriteFailedError):
        disk.append(path, b"one\n")
    assert not path.exists()
    disk.append(path, b"one\n")
    machine.power_cut()
    assert path.read_bytes() == b"one\n"


@pytest.mark.parametrize("undo", [1, 2])
def test_an_undo_that_fails_says_that_the_process_must_exit(machine: Machine, undo: int) -> None:
    disk, path = Disk(machine), machine.root / "f"
    disk.append(path, b"one\n")
    machine.plan(Fault(0, "ENOSPC"), Fault(undo, "EIO"))
    with pytest.raises(MustExitError, match="exit and start again"):
        disk.append(path, b"two\n")


def test_a_write_that_makes_no_progress_is_an_error_and_no_endless_loop(machine: Machine) -> None:
    disk, path = Disk(machine), machine.root / "f"
    disk.append(path, b"one\n")
    machine.plan(*(Fault(at, "short", cut_bytes=0) for at in range(2)))
    with pytest.raises(WriteFailedError, match="no progress"):
        disk.append(path, b"two\n")
    assert path.read_bytes() == b"one\n"


def test_a_directory_in_the_place_of_a_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(WriteFailedError, match=r"cannot append to .*/f: Is a directory"):
        Disk().append(tmp_path / "f", b"one\n")


def test_a_symbolic_link_is_never_followed_out_of_the_directory(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tmp_path / "f").symlink_to(outside)
    with pytest.raises(WriteFailedError):
        Disk().append(tmp_path / "f", b"one\n")
    with pytest.raises(MustExitError):
        Disk().cut(tmp_path / "f", 0)
    assert outside.read_bytes() == b"precious"


def test_replace_shows_the_old_or_the_new_bytes_at_every_crash_point(quick_path: Path) -> None:
    for at in range(6):
        for power in (False, True):
            machine = Machine(quick_path / f"{at}{power}")
            path = machine.root / "state"
            Disk(machine).replace(path, b"old")
            machine.plan(Fault(at, "kill"))
            try:
                Disk(machine).replace(path, b"newer")
                done = True
            except Crash:
                done = False
            machine.power_cut() if power else machine.restart()
            assert path.read_bytes() in ([b"newer"] if done else [b"old", b"newer"])


def test_a_failed_replace_leaves_no_temporary_file(machine: Machine) -> None:
    path = machine.root / "state"
    Disk(machine).replace(path, b"old")
    machine.plan(Fault(1, "ENOSPC"))
    with pytest.raises(WriteFailedError):
        Disk(machine).replace(path, b"newer")
    assert [entry.name for entry in machine.root.iterdir()] == ["state"]
    assert path.read_bytes() == b"old"


def test_a_marker_whose_directory_fsync_fails_is_taken_back(machine: Machine) -> None:
    machine.plan(Fault(1, "EIO"))
    with pytest.raises(MustExitError):
        Disk(machine).create_marker(machine.root / "done")
    assert not (machine.root / "done").exists()


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b"torn", b""),
        (b"a\n", b"a\n"),
        (b"a\nb", b"a\n"),
        (b"a\n\0\0\0", b"a\n"),
        (b"a\n" + b"x" * 200_000, b"a\n"),
    ],
)
def test_repair_tail_cuts_what_follows_the_last_line_break(tmp_path: Path, content: bytes, kept: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    assert whole_lines_bytes(path) == len(kept)
    assert Disk().repair_tail(path) == len(content) - len(kept)
    assert path.read_bytes() == kept


def test_a_missing_file_is_empty_and_needs_no_repair(tmp_path: Path) -> None:
    assert Disk().repair_tail(tmp_path / "f") == 0
    assert file_size(tmp_path / "f") == 0
    Disk().unlink(tmp_path / "f")


def test_cut_never_makes_a_file_longer(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    with pytest.raises(MustExitError, match="shorter than 5 bytes"):
        Disk().cut(tmp_path / "f", 5)
    assert (tmp_path / "f").read_bytes() == b"abc"


def test_directories_are_created_with_their_parents_and_survive_a_power_cut(machine: Machine) -> None:
    Disk(machine).ensure_directory(machine.root / "a" / "b")
    machine.power_cut()
    assert (machine.root / "a" / "b").is_dir()


def test_no_descriptor_stays_open_after_errors(machine: Machine) -> None:
    disk, path = Disk(machine), machine.root / "f"
    before = len(os.listdir("/proc/self/fd"))
    for at in range(6):
        machine.plan(Fault(at, "EIO"))
        for attempt in (lambda: disk.append(path, b"x\n"), lambda: disk.replace(path, b"y"), lambda: disk.cut(path, 0)):
            try:
                attempt()
            except (WriteFailedError, MustExitError):
                continue
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["CLI1", "a", "-", "_", "A" * 64])
def test_a_safe_name_is_returned_unchanged(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "a\0", "a\n", "é", "a b", "A" * 65, "a.csv", None, 7, b"x", "x" * 10_000]
)
def test_any_other_name_is_refused_in_one_short_line(name: object) -> None:
    with pytest.raises(UnsafeNameError, match=r"client id .* is not 1 to 64 letters") as refusal:
        safe_name(name, "client id")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200
    assert not (isinstance(name, str) and is_safe_name(name))
