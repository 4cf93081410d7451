"""PartitionManager without crashes: formats, statuses, bounds, and what can be wrong with input and files."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.durable.errors import (
    CorruptFileError,
    InvalidMessageError,
    MustExitError,
    UnsafeNameError,
    UnusableFileError,
    WriteFailedError,
)
from chaoskit.durable.partition import ChunkStatus, PartitionManager

from .machine import Fault, Machine

Make = Callable[..., PartitionManager]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def start(num_partitions: int = 5, **options: object) -> PartitionManager:
        manager = PartitionManager(tmp_path / "data", num_partitions, **options)
        manager.recover()
        return manager

    return start


def partition_file(tmp_path: Path, partition: int, client: str = "TEST") -> Path:
    return tmp_path / "data" / "partitions" / f"{client}-users-partition-{partition:03d}.csv"


def state_file(tmp_path: Path, name: str) -> Path:
    return tmp_path / "data" / "state" / name


def read_rows(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file, strict=True))


def process(manager: PartitionManager, chunk_id: str, rows: list[tuple[str, str]]) -> None:
    manager.write_chunk("TEST", chunk_id, rows)
    manager.mark_processed(chunk_id)


def test_rows_go_to_the_partition_of_their_user_id_in_the_documented_formats(make: Make, tmp_path: Path) -> None:
    manager = make()
    result = manager.write_chunk("TEST", "T-1", [("7", "Ann"), ("5", "Bo, Jr."), ("12", "C")])
    assert result == (ChunkStatus.WRITTEN, (0, 2))
    manager.mark_processed("T-1")
    assert partition_file(tmp_path, 0).read_text() == 'user_id,name\n5,"Bo, Jr."\n'
    assert partition_file(tmp_path, 2).read_text() == "user_id,name\n7,Ann\n12,C\n"
    assert state_file(tmp_path, "processed-chunks.txt").read_text() == "T-1\n"
    assert state_file(tmp_path, "written-partition-chunks.txt").read_text() == "0:T-1\n2:T-1\n"


def test_statuses_say_what_is_left_to_do(make: Make) -> None:
    manager = make()
    assert manager.write_chunk("TEST", "T-1", [("1", "a")]).status is ChunkStatus.WRITTEN
    assert make().write_chunk("TEST", "T-1", [("1", "a")]) == (ChunkStatus.WRITTEN_BEFORE, ())
    manager.mark_processed("T-1")
    manager.mark_processed("T-1")
    assert manager.is_processed("T-1")
    assert make().write_chunk("TEST", "T-1", [("1", "a")]) == (ChunkStatus.PROCESSED, ())


def test_an_empty_chunk_touches_no_partition_and_is_remembered(make: Make, tmp_path: Path) -> None:
    manager = make()
    assert manager.write_chunk("TEST", "T-1", []) == (ChunkStatus.WRITTEN, ())
    manager.mark_processed("T-1")
    assert make().is_processed("T-1")
    assert list((tmp_path / "data" / "partitions").iterdir()) == []


def test_equal_rows_of_two_chunks_are_two_rows(make: Make, tmp_path: Path) -> None:
    manager = make()
    process(manager, "T-1", [("1", "a"), ("1", "a")])
    process(manager, "T-2", [("1", "a")])
    assert read_rows(partition_file(tmp_path, 1)) == [["user_id", "name"]] + 3 * [["1", "a"]]


@pytest.mark.parametrize("name", ["a,b", 'a"b', '"', "a\nb", "a\r\nb", "\r", "", " a ", "é漢", "\0", "'", "#"])
def test_every_text_comes_back_from_a_csv_reader(make: Make, tmp_path: Path, name: str) -> None:
    process(make(), "T-1", [("1", name), ("6", "next")])
    assert read_rows(partition_file(tmp_path, 1))[1:] == [["1", name], ["6", "next"]]


@pytest.mark.parametrize(
    ("user_id", "partition"), [("-1", 4), ("-5", 0), ("007", 2), ("1" + 98 * "0" + "3", 3), ("0", 0), (8, 3)]
)
def test_negative_and_huge_user_ids_have_a_partition(make: Make, tmp_path: Path, user_id: str, partition: int) -> None:
    assert make().write_chunk("TEST", "T-1", [(user_id, "a")]).partitions == (partition,)
    assert read_rows(partition_file(tmp_path, partition))[1] == [str(user_id), "a"]


@pytest.mark.parametrize(
    "row",
    [
        ("x", "a"),
        ("", "a"),
        ("1.0", "a"),
        (" 1", "a"),
        ("1_0", "a"),
        ("+1", "a"),
        ("٣", "a"),
        ("1" * 101, "a"),
        ("1",),
        ("1", "a", "b"),
        (),
        ("1", None),
        ("1", True),
        ("1", "\ud800"),
    ],
)
def test_a_bad_row_refuses_the_whole_chunk_before_anything_is_written(make: Make, tmp_path: Path, row: tuple) -> None:
    manager = make()
    with pytest.raises(InvalidMessageError, match="row"):
        manager.write_chunk("TEST", "T-1", [("1", "good"), row])
    assert list((tmp_path / "data" / "partitions").iterdir()) == []
    assert manager.write_chunk("TEST", "T-1", [("1", "good")]).status is ChunkStatus.WRITTEN


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a\0", "a\n", "x" * 65, "a:b", "é", None])
def test_a_client_or_chunk_id_never_becomes_a_path(make: Make, tmp_path: Path, name: str) -> None:
    manager = make()
    with pytest.raises(UnsafeNameError, match="client id"):
        manager.write_chunk(name, "T-1", [("1", "a")])
    with pytest.raises(UnsafeNameError, match="chunk id"):
        manager.write_chunk("TEST", name, [("1", "a")])
    with pytest.raises(UnsafeNameError):
        manager.mark_processed(name)
    assert sorted(path.name for path in tmp_path.rglob("*.csv")) == []


@pytest.mark.parametrize(
    "options", [{"num_partitions": 0}, {"key_column": "x"}, {"keep_processed": 0}, {"columns": ()}]
)
def test_arguments_that_make_no_sense_are_refused(make: Make, options: dict) -> None:
    with pytest.raises(ValueError, match=r"must|none of"):
        make(**options)


def test_another_key_column_and_prefix(make: Make, tmp_path: Path) -> None:
    make(3, prefix="sales", columns=("store", "id"), key_column="id").write_chunk("X", "T-1", [("north", "4")])
    path = tmp_path / "data" / "partitions" / "X-sales-partition-001.csv"
    assert path.read_text() == "store,id\nnorth,4\n"


def test_another_number_of_partitions_is_refused_at_start(make: Make, tmp_path: Path) -> None:
    process(make(5), "T-1", [("1", "a")])
    with pytest.raises(CorruptFileError, match="num_partitions"):
        make(6)
    assert make(5).is_processed("T-1")


def test_nothing_works_before_recover(tmp_path: Path) -> None:
    with pytest.raises(MustExitError, match="recover"):
        PartitionManager(tmp_path, 5).write_chunk("TEST", "T-1", [("1", "a")])


# ---- files that are not what they should be ----


def test_a_partition_file_that_is_a_directory_leaves_the_other_partitions_untouched(make: Make, tmp_path: Path) -> None:
    manager = make()
    process(manager, "T-1", [("2", "before")])
    partition_file(tmp_path, 1).mkdir()
    with pytest.raises(UnusableFileError, match="not a regular file"):
        manager.write_chunk("TEST", "T-2", [("1", "a"), ("2", "b")])
    assert read_rows(partition_file(tmp_path, 2))[1:] == [["2", "before"]]
    assert manager.write_chunk("TEST", "T-3", [("2", "c")]).status is ChunkStatus.WRITTEN
    partition_file(tmp_path, 1).rmdir()
    assert make().write_chunk("TEST", "T-2", [("1", "a"), ("2", "b")]).partitions == (1, 2)


@pytest.mark.parametrize("kind", ["EACCES", "EROFS", "EPERM"])
def test_a_read_only_partition_file_undoes_the_chunk(tmp_path: Path, kind: str) -> None:
    machine = Machine(tmp_path / "machine")
    manager = PartitionManager(machine.root / "data", 5, system=machine)
    manager.recover()
    process(manager, "T-1", [("2", "before"), ("3", "before")])
    machine.read_only = str(machine.root / "data/partitions/TEST-users-partition-003.csv")
    original = machine.open

    def refuse(path: str, flags: int, mode: int = 0o644, /) -> int:
        if path == machine.read_only and flags & os.O_WRONLY:
            raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)), path)
        return original(path, flags, mode)

    machine.open = refuse
    with pytest.raises(UnusableFileError, match="repair it"):
        manager.write_chunk("TEST", "T-2", [("2", "b"), ("3", "c")])
    path = machine.root / "data/partitions/TEST-users-partition-002.csv"
    assert read_rows(path)[1:] == [["2", "before"]]


def test_a_full_disk_is_no_reason_to_give_a_chunk_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    manager = PartitionManager(machine.root / "data", 5, system=machine)
    manager.recover()
    machine.plan(Fault(0, "ENOSPC"))
    with pytest.raises(WriteFailedError, match="No space left"):
        manager.write_chunk("TEST", "T-1", [("1", "a")])
    assert manager.write_chunk("TEST", "T-1", [("1", "a")]).status is ChunkStatus.WRITTEN


def test_a_link_in_the_place_of_a_partition_file_is_not_followed(make: Make, tmp_path: Path) -> None:
    manager = make()
    outside = tmp_path / "outside.csv"
    outside.write_text("user_id,name\n")
    partition_file(tmp_path, 1).symlink_to(outside)
    with pytest.raises(UnusableFileError, match="not a regular file"):
        manager.write_chunk("TEST", "T-1", [("1", "a")])
    assert outside.read_text() == "user_id,name\n"


def test_a_foreign_header_is_left_alone(make: Make, tmp_path: Path) -> None:
    manager = make()
    partition_file(tmp_path, 1).write_text("id;name\n1;x\n")
    with pytest.raises(UnusableFileError, match="does not begin with the line user_id,name"):
        manager.write_chunk("TEST", "T-1", [("1", "a")])
    make()
    assert partition_file(tmp_path, 1).read_text() == "id;name\n1;x\n"


@pytest.mark.parametrize(
    ("content", "healed"),
    [
        ("user_id,na", ""),
        ("user_id,name\n1,a\n6,b", "user_id,name\n1,a\n"),
        ('user_id,name\n1,a\n6,"b\n7,c\n11', "user_id,name\n1,a\n"),
        ('user_id,name\n1,"a\nb"\n6,""""\n11,"', 'user_id,name\n1,"a\nb"\n6,""""\n'),
    ],
)
def test_a_torn_file_without_a_record_is_healed_at_start(make: Make, tmp_path: Path, content: str, healed: str) -> None:
    make()
    partition_file(tmp_path, 1).write_text(content)
    manager = PartitionManager(tmp_path / "data", 5)
    (cut,) = manager.recover().healed
    assert (cut.length_bytes, cut.cut_bytes) == (len(healed), len(content) - len(healed))
    assert partition_file(tmp_path, 1).read_text() == healed
    manager.write_chunk("TEST", "T-1", [("1", "z")])
    assert partition_file(tmp_path, 1).read_text() == (healed or "user_id,name\n") + "1,z\n"


def test_healing_below_a_recorded_size_does_not_stop_the_next_start(make: Make, tmp_path: Path) -> None:
    machine_dir = tmp_path / "data"
    manager = make()
    process(manager, "T-1", [("1", "a")])
    intent = {"chunk": "T-2", "client": "TEST", "base": {"1": partition_file(tmp_path, 1).stat().st_size + 2}}
    partition_file(tmp_path, 1).write_text("user_id,name\n1,a\n6,")
    (machine_dir / "state" / "intent").write_text(json.dumps(intent) + "\n")
    assert len(PartitionManager(machine_dir, 5).recover().healed) == 1
    assert PartitionManager(machine_dir, 5).recover() == (None, (), ())


def test_a_file_shorter_than_recorded_stops_the_start(make: Make, tmp_path: Path) -> None:
    make()
    state_file(tmp_path, "intent").write_text('{"chunk": "T-1", "client": "TEST", "base": {"1": 99}}\n')
    with pytest.raises(CorruptFileError, match="has 0 bytes and had 99"):
        make()


@pytest.mark.parametrize(
    "intent",
    [
        '["T-1"]',
        '{"chunk": "T-1", "client": "../x", "base": {}}',
        '{"chunk": "T-1", "client": "c", "base": {"1": -1}}',
        '{"chunk": "T-1", "client": "c", "base": {"../1": 1}}',
        '{"chunk": "T-1"}',
        "7",
    ],
)
def test_a_foreign_intent_stops_the_start(make: Make, tmp_path: Path, intent: str) -> None:
    make()
    state_file(tmp_path, "intent").write_text(intent + "\n")
    with pytest.raises(CorruptFileError, match="not an intent"):
        make()


def test_old_intents_do_not_pile_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    manager = PartitionManager(machine.root / "data", 1, system=machine)
    manager.recover()
    longest = 0
    for number in range(1_500):
        manager.write_chunk("TEST", f"T-{number}", [("1", "a")])
        longest = max(longest, (machine.root / "data/state/intent").stat().st_size)
    assert 1 << 16 < longest < (1 << 16) + 200
    again = PartitionManager(machine.root / "data", 1, system=machine)
    again.recover()
    assert again.write_chunk("TEST", "T-1499", [("1", "a")]).status is ChunkStatus.WRITTEN_BEFORE


@pytest.mark.parametrize("content", ["", '{"chunk": "T-1", "client": "c", "ba', "\0\0\0"])
def test_a_torn_intent_is_none(make: Make, tmp_path: Path, content: str) -> None:
    make()
    state_file(tmp_path, "intent").write_text(content)
    assert PartitionManager(tmp_path / "data", 5).recover().undone_chunk is None


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("processed-chunks.txt", "a b"),
        ("written-partition-chunks.txt", "x:T-1"),
        ("processed-chunks.txt", ""),
        ("written-partition-chunks.txt", "T-1"),
        ("layout.json", "{"),
    ],
)
def test_a_bad_line_in_a_state_file_stops_the_start_and_is_named(
    make: Make, tmp_path: Path, name: str, line: str
) -> None:
    make()
    state_file(tmp_path, name).write_text(f"{line}\n")
    with pytest.raises(CorruptFileError, match=name):
        make()


def test_torn_last_lines_of_the_state_files_are_cut(make: Make, tmp_path: Path) -> None:
    manager = make()
    process(manager, "T-1", [("1", "a")])
    for name in ("processed-chunks.txt", "written-partition-chunks.txt"):
        with open(state_file(tmp_path, name), "a") as file:
            file.write("9:T-")
    manager = make()
    assert (manager.is_processed("T-1"), manager.is_processed("9:T-")) == (True, False)
    process(manager, "T-10", [("1", "b")])
    assert state_file(tmp_path, "written-partition-chunks.txt").read_text() == "1:T-1\n1:T-10\n"


def test_an_exception_in_the_middle_of_a_write_allows_no_further_change(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    manager = PartitionManager(machine.root / "data", 5, system=machine)
    manager.recover()

    def interrupt(fd: int, data: bytes, /) -> int:
        raise KeyboardInterrupt

    machine.write = interrupt
    with pytest.raises(KeyboardInterrupt):
        manager.write_chunk("TEST", "T-1", [("1", "a")])
    with pytest.raises(MustExitError, match="did not end"):
        manager.write_chunk("TEST", "T-2", [("1", "a")])


# ---- bounds ----


def test_pairs_of_processed_chunks_are_dropped_when_there_are_many(make: Make, tmp_path: Path) -> None:
    manager = make(compact_pairs_above=10)
    manager.write_chunk("TEST", "open", [("1", "a"), ("2", "b")])
    for number in range(20):
        process(manager, f"T-{number}", [("1", "a"), ("2", "b")])
    lines = state_file(tmp_path, "written-partition-chunks.txt").read_text().splitlines()
    assert len(lines) <= 12
    assert {"1:open", "2:open"} <= set(lines)
    assert make().write_chunk("TEST", "open", [("1", "a"), ("2", "b")]).status is ChunkStatus.WRITTEN_BEFORE


def test_only_the_newest_processed_ids_are_kept_when_asked_for(make: Make, tmp_path: Path) -> None:
    manager = make(keep_processed=3)
    for number in range(50):
        process(manager, f"T-{number}", [("1", "a")])
        assert len(state_file(tmp_path, "processed-chunks.txt").read_text().splitlines()) < 6
    assert all(manager.is_processed(f"T-{number}") for number in (47, 48, 49))
    assert not manager.is_processed("T-1")
    assert len(read_rows(partition_file(tmp_path, 1))) == 51


def test_a_forgotten_chunk_keeps_its_rows_at_the_next_start(make: Make, tmp_path: Path) -> None:
    manager = make()
    process(manager, "T-1", [("1", "a")])
    manager.forget(["T-1", "never seen"])
    assert not manager.is_processed("T-1")
    assert make().write_chunk("TEST", "T-2", [("1", "b")]).status is ChunkStatus.WRITTEN
    assert read_rows(partition_file(tmp_path, 1))[1:] == [["1", "a"], ["1", "b"]]


def test_a_full_disk_only_puts_compaction_off(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    manager = PartitionManager(machine.root / "data", 5, compact_pairs_above=1, system=machine)
    manager.recover()
    process(manager, "T-1", [("1", "a")])
    manager.write_chunk("TEST", "T-2", [("1", "b")])
    machine.plan(*[Fault(at, "ENOSPC") for at in range(2, 9)])
    manager.mark_processed("T-2")
    assert any("tmp" in call for call in machine.calls)
    assert manager.is_processed("T-2")
    machine.plan()
    process(manager, "T-3", [("1", "c")])
