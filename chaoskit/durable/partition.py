r"""PartitionManager: the rows of each chunk in their partition files, exactly once, whatever is killed and when.

    manager = PartitionManager("/data", 5)
    manager.recover()                                  # before the first message
    result = manager.write_chunk("TEST", "TEST-0001", [["7", "Ann"], ["12", "Bob"]])
    if result.status is not ChunkStatus.PROCESSED:
        forward(...)                                   # confirmed by the broker
        manager.mark_processed("TEST-0001")
    acknowledge(...)

Layout below the data directory: `partitions/{client}-{prefix}-partition-{XXX}.csv` with a header line, and `state/`
(partition_state.py). A row goes to partition `key % num_partitions`.

The protocol: the sizes of the files that a chunk touches are recorded durably (the intent) before the first row is
written; the pairs `{partition}:{chunk}` are recorded after all rows are on disk. What an intent covers and no pair
vouches for is cut off again, at once after an error or at the next start. So a chunk is written whole or not at all,
and content is never compared: equal rows of two chunks are two rows.

It does not talk to a broker, does not retry, keeps no file open, and is for one thread of one process a data directory.
Chunk ids must be unique over all clients. Not detected: a chunk that comes again with the same id and other rows.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from chaoskit.durable import partition_repair, partition_rows
from chaoskit.durable.errors import CorruptFileError, MustExitError, UnusableFileError, WriteFailedError
from chaoskit.durable.files import Disk, StrPath, SystemCalls
from chaoskit.durable.names import safe_name
from chaoskit.durable.partition_repair import Cut
from chaoskit.durable.partition_rows import Row
from chaoskit.durable.partition_state import ChunkState, Intent

PARTITIONS_DIR = "partitions"
STATE_DIR = "state"
LAYOUT_FILE = "layout.json"
MAX_PARTITIONS = 100_000
_SUFFIX = ".csv"
# Errors of open(2) that do not go away by waiting.
_PERMANENT = {
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
    errno.ENXIO,
    errno.ENOTDIR,
    errno.EFBIG,
}


class ChunkStatus(enum.Enum):
    """What `write_chunk` found, and so what is left to do."""

    WRITTEN = "written"
    """Its rows were written by this call: forward it, `mark_processed`, acknowledge."""
    WRITTEN_BEFORE = "written before"
    """An earlier life wrote it and died before `mark_processed`: forward it again, `mark_processed`, acknowledge."""
    PROCESSED = "processed"
    """It is done: acknowledge only."""


class ChunkResult(NamedTuple):
    """`partitions`: those that this call wrote, ascending; empty for a chunk without rows."""

    status: ChunkStatus
    partitions: tuple[int, ...]


class Recovery(NamedTuple):
    """What `recover` did: the chunk whose unfinished write was undone, and every file that was cut."""

    undone_chunk: str | None
    undone: tuple[Cut, ...]
    healed: tuple[Cut, ...]


class PartitionManager:
    """Writes chunks of rows into partition files; see the module's text for the life of a chunk.

    Errors of all methods: InvalidMessageError and UnusableFileError: dead-letter the message, nothing of it was
    kept. WriteFailedError: nothing was kept either, try again after a while. MustExitError and CorruptFileError: exit.
    """

    def __init__(
        self,
        data_dir: StrPath,
        num_partitions: int,
        prefix: str = "users",
        columns: Sequence[str] = ("user_id", "name"),
        *,
        key_column: str | None = None,
        keep_processed: int | None = None,
        compact_pairs_above: int = 20_000,
        system: SystemCalls = os,
    ) -> None:
        """Nothing is read or written before `recover`. Raises ValueError for arguments that make no sense.

        `key_column` (the first one unless given) decides the partition. `keep_processed` bounds processed-chunks.txt
        to at most twice that many newest ids: safe when no chunk can come again after so many others were processed;
        None remembers all until `forget`. Pairs are needed only until their chunk is processed: when the file has
        more than `compact_pairs_above` lines, those of processed chunks are dropped.
        """
        key_column = columns[0] if columns and key_column is None else key_column
        if not 1 <= num_partitions <= MAX_PARTITIONS:
            raise ValueError(f"num_partitions must be 1 to {MAX_PARTITIONS}, not {num_partitions}")
        if key_column not in columns:
            raise ValueError(f"key_column {key_column!r} is none of the columns {list(columns)}")
        if (keep_processed is not None and keep_processed < 1) or compact_pairs_above < 1:
            raise ValueError("keep_processed and compact_pairs_above must be at least 1")
        self.num_partitions = num_partitions
        self.columns = tuple(columns)
        self.prefix = safe_name(prefix, "prefix")
        self._data_dir = os.fspath(data_dir)
        self._key = self.columns.index(key_column)
        self._header = partition_rows.header_bytes(self.columns)
        self._disk = Disk(system)
        self._state = ChunkState(
            self._disk, self._state_dir, keep_processed=keep_processed, compact_pairs_above=compact_pairs_above
        )
        self._usable = False
        # The size in bytes of each partition file as this life left it.
        self._left_bytes: dict[str, int] = {}

    @property
    def _state_dir(self) -> str:
        return os.path.join(self._data_dir, STATE_DIR)

    @property
    def _partitions_dir(self) -> str:
        return os.path.join(self._data_dir, PARTITIONS_DIR)

    def partition_path(self, client_id: str, partition: int) -> str:
        """The path of a partition file. Raises UnsafeNameError for a client id that is no safe name."""
        client = safe_name(client_id, "client id")
        return os.path.join(self._partitions_dir, f"{client}-{self.prefix}-partition-{partition:03d}{_SUFFIX}")

    def recover(self) -> Recovery:
        """Make what an earlier life left behind whole; call it first.

        Reads the state files and the ends of partition files, so its time does not grow with their size. May be killed
        at any point and called again. Raises CorruptFileError when the files are not those of these arguments, and
        WriteFailedError when the disk is full: exit in both cases.
        """
        self._usable = False
        for directory in (self._data_dir, self._partitions_dir, self._state_dir):
            self._disk.ensure_directory(directory)
        self._check_layout()
        self._state.load()
        self._disk.sync_directory(self._state_dir)
        intent = self._state.pending_intent()
        undone = self._undo(intent) if intent else ()
        healed = self._heal()
        self._disk.sync_directory(self._partitions_dir)
        self._state.compact_when_due()
        self._usable = True
        return Recovery(intent.chunk_id if intent and undone else None, undone, healed)

    def write_chunk(self, client_id: str, chunk_id: str, rows: Iterable[Row]) -> ChunkResult:
        """Append each row to its partition file, all of them durably or none; fields are text or integers.

        A chunk with a single bad row is refused as a whole, before anything is written.
        """
        safe_name(client_id, "client id")
        safe_name(chunk_id, "chunk id")
        groups = partition_rows.group_rows(rows, self.columns, self._key, self.num_partitions)
        if self._state.is_processed(chunk_id):
            return ChunkResult(ChunkStatus.PROCESSED, ())
        written = self._state.written(chunk_id)
        todo = {partition: data for partition, data in groups.items() if partition not in written}
        if todo:
            with self._change():
                self._write(client_id, chunk_id, todo)
        status = ChunkStatus.WRITTEN_BEFORE if written and not todo else ChunkStatus.WRITTEN
        return ChunkResult(status, tuple(todo))

    def mark_processed(self, chunk_id: str) -> None:
        """Record that the chunk is done, after whatever follows from it was confirmed. A second time is no error."""
        if not self._state.is_processed(safe_name(chunk_id, "chunk id")):
            with self._change():
                self._state.add_processed(chunk_id)

    def is_processed(self, chunk_id: str) -> bool:
        """Whether `mark_processed` was called for the chunk, in this or an earlier life, and it is not forgotten."""
        return self._state.is_processed(chunk_id)

    def forget(self, chunk_ids: Iterable[str]) -> None:
        """Drop processed chunks from the state files, to bound them.

        Safe only when they can never come again: their messages are acknowledged, and their sender (which sends again
        what was not confirmed to it) is finished with them. One that comes again all the same is written again.
        """
        with self._change():
            self._state.forget(chunk_ids)

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Refuse further changes once one did not end: an exception from a signal handler may leave it half done."""
        if not self._usable:
            raise MustExitError("recover() was not called, or an earlier change did not end; exit and start again")
        self._usable = False
        try:
            yield
        except (WriteFailedError, UnusableFileError):
            self._usable = True
            raise
        self._usable = True

    def _write(self, client_id: str, chunk_id: str, groups: dict[int, bytes]) -> None:
        paths = {partition: self.partition_path(client_id, partition) for partition in groups}
        intent = Intent(chunk_id, client_id, {partition: self._size(path) for partition, path in paths.items()})
        left_bytes = {}
        try:
            self._state.put_intent(intent)
            for partition, data in groups.items():
                path = paths[partition]
                left_bytes[path] = len(data) + self._disk.append(path, data, header=self._header)
            self._state.add_written(chunk_id, groups)
        except WriteFailedError as error:
            self._undo(intent)
            raise _unusable_or_same(error, paths.values()) from error.__cause__
        self._left_bytes |= left_bytes

    def _size(self, path: str) -> int:
        return partition_repair.usable_size(path, self._header, self._left_bytes.get(path))

    def _undo(self, intent: Intent) -> tuple[Cut, ...]:
        written = self._state.written(intent.chunk_id)
        cuts = [
            partition_repair.cut_to_base(self.partition_path(intent.client_id, partition), base)
            for partition, base in intent.base_bytes.items()
            if partition not in written
        ]
        return self._cut(cuts)

    def _heal(self) -> tuple[Cut, ...]:
        with os.scandir(self._partitions_dir) as entries:
            names = sorted(entry.name for entry in entries if self._is_ours(entry.name))
        paths = [os.path.join(self._partitions_dir, name) for name in names]
        cuts = [cut for path in paths if (cut := partition_repair.cut_to_whole_rows(path, self._header))]
        if cuts:
            # The sizes that it recorded may be larger than what is left.
            self._state.clear_intent()
        return self._cut(cuts)

    def _cut(self, cuts: Sequence[Cut | None]) -> tuple[Cut, ...]:
        needed = [cut for cut in cuts if cut]
        partition_repair.apply(self._disk, needed)
        return tuple(cut for cut in needed if cut.cut_bytes)

    def _is_ours(self, name: str) -> bool:
        return name.endswith(_SUFFIX) and f"-{self.prefix}-partition-" in name

    def _check_layout(self) -> None:
        path = os.path.join(self._state_dir, LAYOUT_FILE)
        ours = {"num_partitions": self.num_partitions, "prefix": self.prefix, "columns": list(self.columns)}
        ours["key_column"] = self.columns[self._key]
        try:
            with open(path, "rb") as file:
                found = json.loads(file.read())
        except FileNotFoundError:
            self._disk.replace(path, json.dumps(ours).encode() + b"\n")
            return
        except ValueError as error:
            raise CorruptFileError(f"{path} is not JSON; restore it or use a new data directory") from error
        if found != ours:
            raise CorruptFileError(f"{path} says {found}, not {ours}; use the same values or a new data directory")


def _unusable_or_same(error: WriteFailedError, partition_paths: Collection[str]) -> Exception:
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in _PERMANENT and cause.filename in partition_paths:
        return UnusableFileError(f"{cause.filename}: {cause.strerror}; repair it, then send the chunk again")
    return error
