r"""What the partition writer knows about chunks, on disk: three small files in one directory.

- `processed-chunks.txt`: a chunk id a line. The chunk is done; if it comes again there is nothing to do.
- `written-partition-chunks.txt`: `{partition}:{chunk id}` a line. The chunk's rows are in that partition, durably.
- `intent`: one JSON object a line; the last one is the chunk that is being written and how long each of its partition
  files was before. No row is written before its line is on disk. Lines above are of no use any more; the file starts
  anew when it is long.

Lines are whole or absent (a torn last line is cut when loading). A pair is needed until its chunk is in
processed-chunks.txt; after that `compact_when_due` may drop it. It does not know partition files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chaoskit.durable.errors import CorruptFileError, WriteFailedError
from chaoskit.durable.files import Disk, file_size
from chaoskit.durable.names import is_safe_name

PROCESSED_FILE = "processed-chunks.txt"
WRITTEN_FILE = "written-partition-chunks.txt"
INTENT_FILE = "intent"
_LONGEST_INTENTS_BYTES = 1 << 16


class Intent(NamedTuple):
    """A chunk that is about to be written, and the size in bytes of each partition file that it touches, before."""

    chunk_id: str
    client_id: str
    base_bytes: dict[int, int]


class ChunkState:
    """The three files and what they say. Changes go to the disk first, then to memory."""

    def __init__(self, disk: Disk, state_dir: str, *, keep_processed: int | None, compact_pairs_above: int) -> None:
        """Nothing is read yet. `keep_processed`: how many chunk ids to remember (None: all)."""
        self._disk = disk
        self._processed_path = os.path.join(state_dir, PROCESSED_FILE)
        self._written_path = os.path.join(state_dir, WRITTEN_FILE)
        self._intent_path = os.path.join(state_dir, INTENT_FILE)
        self._keep_processed = keep_processed
        self._compact_pairs_above = compact_pairs_above
        self._processed: dict[str, None] = {}
        self._written: dict[str, set[int]] = {}
        self._pair_lines = 0

    def load(self) -> None:
        """Cut torn last lines, put everything on disk, read it. Raises CorruptFileError and MustExitError."""
        for path in (self._processed_path, self._written_path, self._intent_path):
            self._disk.repair_tail(path)
        self._processed = dict.fromkeys(_ids(self._processed_path))
        self._written = {}
        self._pair_lines = 0
        for partition, chunk_id in _pairs(self._written_path):
            self._pair_lines += 1
            if chunk_id not in self._processed:
                self._written.setdefault(chunk_id, set()).add(partition)

    def is_processed(self, chunk_id: str) -> bool:
        """Whether the chunk is done."""
        return chunk_id in self._processed

    def written(self, chunk_id: str) -> frozenset[int]:
        """The partitions that hold the rows of a chunk which is not processed yet."""
        return frozenset(self._written.get(chunk_id, ()))

    def put_intent(self, intent: Intent) -> None:
        """Make the intent durable. Raises WriteFailedError (the last one stays, or there is none) and MustExitError."""
        text = json.dumps({"chunk": intent.chunk_id, "client": intent.client_id, "base": intent.base_bytes})
        line = text.encode() + b"\n"
        if file_size(self._intent_path) < _LONGEST_INTENTS_BYTES:
            self._disk.append(self._intent_path, line)
        else:
            # A kill leaves a prefix of the line, which is none: nothing of its chunk is written yet.
            self._disk.rewrite(self._intent_path, line)

    def clear_intent(self) -> None:
        """Forget the intent. Raises WriteFailedError."""
        self._disk.rewrite(self._intent_path, b"")

    def pending_intent(self) -> Intent | None:
        """The last intent, unless its chunk is processed; else None. Raises CorruptFileError when it is not ours."""
        last = None
        for _, line in _lines(self._intent_path):
            last = line
        if last is None:
            return None
        intent = _intent(last, self._intent_path)
        return None if self.is_processed(intent.chunk_id) else intent

    def add_written(self, chunk_id: str, partitions: Iterable[int]) -> None:
        """Record with one append that the rows are in `partitions`. Raises WriteFailedError, MustExitError."""
        new = sorted(partitions)
        self._disk.append(self._written_path, "".join([f"{p}:{chunk_id}\n" for p in new]).encode())
        self._written.setdefault(chunk_id, set()).update(new)
        self._pair_lines += len(new)

    def add_processed(self, chunk_id: str) -> None:
        """Record that the chunk is done. Raises WriteFailedError, MustExitError."""
        self._disk.append(self._processed_path, f"{chunk_id}\n".encode())
        self._processed[chunk_id] = None
        self._written.pop(chunk_id, None)
        self.compact_when_due()

    def compact_when_due(self) -> None:
        """Rewrite a state file that has grown past its bound; only between chunks, when no intent is to be undone.

        A full disk only puts it off. Raises MustExitError.
        """
        keep = self._keep_processed
        try:
            if keep is not None and len(self._processed) >= 2 * keep:
                self.forget(list(self._processed)[:-keep])
            elif self._pair_lines > self._compact_pairs_above:
                self._compact_pairs()
        except WriteFailedError:
            # Both files are as they were and stay right; only try again after as many lines as there are now.
            self._compact_pairs_above = max(self._compact_pairs_above, 2 * self._pair_lines)

    def forget(self, chunk_ids: Iterable[str]) -> None:
        """Drop processed chunks for good: should one of them come again, it is written again.

        Raises WriteFailedError (nothing is forgotten) and MustExitError.
        """
        gone = set(chunk_ids)
        kept = [chunk_id for chunk_id in self._processed if chunk_id not in gone]
        # First whatever leans on the ids: an intent without its processed id would be undone at the next start.
        self.clear_intent()
        self._compact_pairs()
        self._disk.replace(self._processed_path, "".join([f"{chunk_id}\n" for chunk_id in kept]).encode())
        self._processed = dict.fromkeys(kept)

    def _compact_pairs(self) -> None:
        lines = [f"{partition}:{chunk_id}\n" for chunk_id, done in self._written.items() for partition in sorted(done)]
        self._disk.replace(self._written_path, "".join(lines).encode())
        self._pair_lines = len(lines)


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="ascii", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                yield number, line[:-1]
    except FileNotFoundError:
        return


def _ids(path: str) -> Iterator[str]:
    for number, line in _lines(path):
        if not is_safe_name(line):
            raise _corrupt(path, number, line, "a chunk id")
        yield line


def _pairs(path: str) -> Iterator[tuple[int, str]]:
    for number, line in _lines(path):
        partition, _, chunk_id = line.partition(":")
        if not (partition.isdecimal() and is_safe_name(chunk_id)):
            raise _corrupt(path, number, line, "partition:chunk id")
        yield int(partition), chunk_id


def _intent(line: str, path: str) -> Intent:
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    match fields:
        case {"chunk": str(chunk_id), "client": str(client_id), "base": dict(base)}:
            # The names come from a file, and the undo cuts the files that they name.
            if is_safe_name(chunk_id) and is_safe_name(client_id) and all(map(_is_base, base.items())):
                return Intent(chunk_id, client_id, {int(partition): size for partition, size in base.items()})
    raise CorruptFileError(f"{path} is not an intent of this library; look at it before starting again")


def _is_base(item: tuple[str, object]) -> bool:
    partition, size = item
    return partition.isascii() and partition.isdecimal() and type(size) is int and size >= 0


def _corrupt(path: str, number: int, line: str, what: str) -> CorruptFileError:
    return CorruptFileError(f"{path} line {number}: {line[:80]!r} is not {what}; repair the file and start again")
