"""Partition managers with one mistake each, and one without: what the experiments have to tell apart.

Each entry of `BUGS` patches the library or returns a subclass of PartitionManager.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from chaoskit.durable import partition_repair
from chaoskit.durable.files import Disk, file_size, whole_lines_bytes
from chaoskit.durable.partition import PartitionManager
from chaoskit.durable.partition_repair import Cut
from chaoskit.durable.partition_state import ChunkState, Intent

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], type[PartitionManager]]
BUGS: dict[str, Bug] = {}


def bug(plant: Bug) -> Bug:
    BUGS[plant.__name__] = plant
    return plant


# The experiments of test_partition_crashes that find a bug, where a kill in the first life does not.
FOUND_BY = {
    "does_not_undo_after_an_error": "errno",
    "ignores_short_writes": "errno",
    "does_not_sync_the_intent": "power",
    "appends_without_fsync": "power",
    "trusts_state_files_that_were_never_synced": "recovery",
}


def look_at_no_file(patch: Patch) -> None:
    """Take away the check that refuses files with a torn line or another header: it would stop the bug in time."""
    patch.setattr(partition_repair, "usable_size", lambda path, *_: file_size(path))


@bug
def records_the_pairs_before_the_rows(patch: Patch) -> type[PartitionManager]:
    original = ChunkState.put_intent

    original_add = ChunkState.add_written

    def put_intent(self: ChunkState, intent: Intent) -> None:
        original(self, intent)
        original_add(self, intent.chunk_id, intent.base_bytes)

    patch.setattr(ChunkState, "put_intent", put_intent)
    patch.setattr(ChunkState, "add_written", lambda self, chunk_id, partitions: None)
    return PartitionManager


@bug
def repairs_no_tail(patch: Patch) -> type[PartitionManager]:
    patch.setattr(partition_repair, "apply", lambda disk, cuts: None)
    look_at_no_file(patch)
    return PartitionManager


@bug
def drops_a_whole_line_at_the_repair(patch: Patch) -> type[PartitionManager]:
    original = partition_repair.apply

    def apply(disk: Disk, cuts: Collection[Cut]) -> None:
        original(disk, cuts)
        for path in [cut.path for cut in cuts if cut.length_bytes]:
            with open(path, "rb") as file:
                lines = file.read().splitlines(keepends=True)
            disk.cut(path, sum(map(len, lines[:-1])))

    patch.setattr(partition_repair, "apply", apply)
    return PartitionManager


@bug
def writes_whole_rows_again_after_a_kill_before_the_record(patch: Patch) -> type[PartitionManager]:
    header = b"user_id,name\n"
    patch.setattr(partition_repair, "cut_to_base", lambda path, base: partition_repair.cut_to_whole_rows(path, header))
    return PartitionManager


@bug
def never_heals_a_torn_header(patch: Patch) -> type[PartitionManager]:
    original = Disk.append

    def append(self: Disk, path: str, data: bytes, *, header: bytes = b"") -> int:
        return original(self, path, data, header=b"" if os.path.exists(path) else header)

    patch.setattr(Disk, "append", append)
    look_at_no_file(patch)
    return PartitionManager


class _Resuming(PartitionManager):
    """Keeps what a killed life got to the disk, up to the last line end, and writes only the rows behind it."""

    def _undo(self, intent: Intent) -> tuple[Cut, ...]:
        self.rows_kept: dict[tuple[str, str], int] = {}
        for partition, base in intent.base_bytes.items():
            path = self.partition_path(intent.client_id, partition)
            if partition not in self._state.written(intent.chunk_id) and file_size(path) > base:
                end = max(base, whole_lines_bytes(path))
                with open(path, "rb") as file:
                    kept = file.read()[base:end]
                # The bug: a line is not always a row.
                self.rows_kept[intent.chunk_id, path] = kept.count(b"\n") - (base == 0 and bool(kept))
                self._disk.cut(path, end)
        return ()

    def _write(self, client_id: str, chunk_id: str, groups: dict[int, bytes]) -> None:
        kept = getattr(self, "rows_kept", {})
        for partition, data in groups.items():
            count = kept.get((chunk_id, self.partition_path(client_id, partition)), 0)
            groups[partition] = b"".join(_rows_of(data)[count:])
        super()._write(client_id, chunk_id, groups)


@bug
def takes_a_line_break_in_quotes_for_the_end_of_a_row(_patch: Patch) -> type[PartitionManager]:
    return _Resuming


def _rows_of(data: bytes) -> list[bytes]:
    rows, row = [], b""
    for line in data.splitlines(keepends=True):
        row += line
        if row.count(b'"') % 2 == 0:
            rows.append(row)
            row = b""
    return rows


@bug
def keeps_no_intent(patch: Patch) -> type[PartitionManager]:
    patch.setattr(ChunkState, "put_intent", lambda self, intent: None)
    return PartitionManager


@bug
def undoes_a_processed_chunk(patch: Patch) -> type[PartitionManager]:
    original = ChunkState.pending_intent

    def pending_intent(self: ChunkState) -> Intent | None:
        processed, self._processed = self._processed, {}
        try:
            return original(self)
        finally:
            self._processed = processed

    patch.setattr(ChunkState, "pending_intent", pending_intent)
    return PartitionManager


@bug
def does_not_undo_after_an_error(_patch: Patch) -> type[PartitionManager]:
    class Planted(PartitionManager):
        def _undo(self, intent: Intent) -> tuple[Cut, ...]:
            return super()._undo(intent) if self._recovering else ()

        _recovering = False

        def recover(self):  # type: ignore[no-untyped-def]
            self._recovering = True
            try:
                return super().recover()
            finally:
                self._recovering = False

    return Planted


@bug
def does_not_sync_the_intent(patch: Patch) -> type[PartitionManager]:
    original = ChunkState.put_intent

    def put_intent(self: ChunkState, intent: Intent) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._disk._system, "fsync", lambda fd: None)
            original(self, intent)

    patch.setattr(ChunkState, "put_intent", put_intent)
    return PartitionManager


@bug
def leaves_torn_lines_in_the_state_files(patch: Patch) -> type[PartitionManager]:
    def repair_tail(self: Disk, path: str) -> int:
        return 0

    patch.setattr(Disk, "repair_tail", repair_tail)
    return PartitionManager


@bug
def trusts_state_files_that_were_never_synced(patch: Patch) -> type[PartitionManager]:
    patch.setattr(Disk, "sync_file", lambda self, path: None)
    return PartitionManager


@bug
def ignores_short_writes(patch: Patch) -> type[PartitionManager]:
    patch.setattr(Disk, "_write_all", lambda self, fd, data: self._system.write(fd, data))
    return PartitionManager


@bug
def appends_without_fsync(patch: Patch) -> type[PartitionManager]:
    def append_only(self: Disk, fd: int, name: str, data: bytes, header: bytes) -> int:
        base = os.fstat(fd).st_size
        self._write_all(fd, data if base else header + data)
        if base == 0:
            self._sync_entry(name)
        return base or len(header)

    patch.setattr(Disk, "_append_to", append_only)
    return PartitionManager


@bug
def puts_no_quotes_around_commas(patch: Patch) -> type[PartitionManager]:
    def encode_row(fields: Sequence[str]) -> str:
        return ",".join(fields) + "\n"

    patch.setattr("chaoskit.durable.partition_rows.encode_row", encode_row)
    return PartitionManager


@bug
def skips_rows_that_are_already_in_the_file(_patch: Patch) -> type[PartitionManager]:
    class Planted(PartitionManager):
        def _write(self, client_id: str, chunk_id: str, groups: dict[int, bytes]) -> None:
            for partition, data in groups.items():
                path = self.partition_path(client_id, partition)
                there = Path(path).read_bytes() if os.path.exists(path) else b""
                groups[partition] = b"".join(row for row in _rows_of(data) if row not in there)
            super()._write(client_id, chunk_id, groups)

    return Planted
