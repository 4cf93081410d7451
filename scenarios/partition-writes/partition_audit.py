r"""Compares the files of worker 2 with the chunks that it was given; the verifier's eyes.

Two questions. While chunks are coming: does each row of the chunks that were forwarded stand in its partition, and
no known row in another one? Rows that were forwarded are never taken away again, so this may be asked while worker 2
writes or repairs: what it is busy with stands behind them. At the end, when all chunks are processed and nothing is
being written: is each row there exactly once, none from nowhere, every header and line whole, and do the state files
agree?

It reads files and nothing else, shares no code with the worker, and blames chunks by id: a damaged line is blamed on
the chunks whose rows resemble it most.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chunk_data import COLUMNS, Chunk, Row

UNKNOWN_ID = "unknown"
_FEWEST_COMMON_CHARACTERS = 3
_PAIR = re.compile(r"([0-9]+):(.+)")

Problems = dict[str, str]


class PartitionFile(NamedTuple):
    """Whole lines, each with its line end, and what follows them. A missing file is an empty one."""

    name: str
    lines: list[str]
    rest: str

    def rows(self) -> Counter[Row]:
        """The rows behind the first line that can be read as such."""
        return Counter(row for line in self.lines[1:] if (row := parsed(line)) is not None)


def read_partition_file(path: str) -> PartitionFile:
    """Split a file where a line ends outside of quotes. A file that cannot be read is shown as one torn line."""
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    lines, start = [], 0
    for end in _line_ends(text):
        lines.append(text[start:end])
        start = end
    return PartitionFile(os.path.basename(path), lines, text[start:])


def _line_ends(text: str) -> Iterator[int]:
    position = 0
    in_quotes = False
    for line in io.StringIO(text, newline="\n"):
        position += len(line)
        in_quotes ^= line.count('"') % 2 == 1
        if line.endswith("\n") and not in_quotes:
            yield position


@functools.lru_cache(maxsize=1 << 16)
def parsed(line: str) -> Row | None:
    """The row in a line, or None when it is no row of two fields."""
    try:
        fields = next(csv.reader(io.StringIO(line, newline=""), strict=True), [])
    except csv.Error:
        return None
    return (fields[0], fields[1]) if len(fields) == len(COLUMNS) else None


class Audit:
    """Knows the chunks of the run; `data_dir` is the data directory of worker 2."""

    def __init__(self, data_dir: str, client_id: str, num_partitions: int, chunks: Iterable[Chunk]) -> None:
        self.chunks = {chunk.id: chunk for chunk in chunks}
        self.num_partitions = num_partitions
        self._partitions_dir = os.path.join(data_dir, "partitions")
        self._state_dir = os.path.join(data_dir, "state")
        self._prefix = f"{client_id}-users-partition-"
        self._owners: dict[Row, list[str]] = {}
        for chunk in self.chunks.values():
            for row in dict.fromkeys(chunk.rows):
                self._owners.setdefault(row, []).append(chunk.id)

    def processed(self) -> list[str]:
        """The lines of processed-chunks.txt."""
        return self._state_lines("processed-chunks.txt")

    def while_running(self, told: Iterable[str]) -> Problems:
        """What is wrong with the chunks in `told` (those that were forwarded), as chunk id -> the first reason."""
        problems: Problems = {}
        told_ids = set(told)
        expected = self._expected(told_ids)
        for partition in range(self.num_partitions):
            file = self._read(partition)
            rows = file.rows()
            for row in expected[partition] - rows:
                owners = [owner for owner in self._owners[row] if owner in told_ids]
                _blame(problems, owners, f"row {row} is not in {file.name}")
            for row in rows:
                if row in self._owners and self._partition_of(row) != partition:
                    _blame(problems, self._owners[row], f"row {row} is in {file.name}, where it does not belong")
        return problems

    def at_the_end(self) -> Problems:
        """What is wrong with any chunk when all of them are processed, as chunk id -> the first reason."""
        problems = self.while_running(self.chunks)
        expected = self._expected(self.chunks)
        for partition in range(self.num_partitions):
            self._audit_file(self._read(partition), expected[partition], problems)
        self._audit_names(problems)
        self._audit_state(problems)
        if len(problems) > 1:
            # What nobody can be blamed for is mostly the debris of what somebody can.
            problems.pop(UNKNOWN_ID, None)
        return problems

    def _audit_file(self, file: PartitionFile, expected: Counter[Row], problems: Problems) -> None:
        if file.lines and parsed(file.lines[0]) != COLUMNS:
            _blame(problems, self._resembling(file.lines[0]), f"{file.name} begins with {_shown(file.lines[0])}")
        for line in file.lines[1:]:
            if parsed(line) not in self._owners:
                _blame(problems, self._resembling(line), f"{file.name} holds {_shown(line)}, which nobody sent")
        for row, count in (file.rows() - expected).items():
            times = expected[row] + count
            _blame(problems, self._owners.get(row, ()), f"row {row} is {times} times in {file.name}")
        if file.rest:
            _blame(problems, self._resembling(file.rest), f"{file.name} ends with the torn line {_shown(file.rest)}")

    def _audit_names(self, problems: Problems) -> None:
        known = {self._name(partition) for partition in range(self.num_partitions)}
        for name in sorted(set(_names_in(self._partitions_dir)) - known):
            lines = read_partition_file(os.path.join(self._partitions_dir, name)).lines
            owners = self._owners.get(parsed(lines[1]) or COLUMNS, ()) if len(lines) > 1 else ()
            _blame(problems, owners, f"{name} is no file of this run")

    def _audit_state(self, problems: Problems) -> None:
        for chunk_id, count in Counter(self.processed()).items():
            if chunk_id not in self.chunks or count > 1:
                _blame(problems, [chunk_id], f"processed-chunks.txt holds {_shown(chunk_id)} {count} times")
        pairs: dict[str, list[int]] = {}
        for line in self._state_lines("written-partition-chunks.txt"):
            match = _PAIR.fullmatch(line)
            if match is None or match[2] not in self.chunks:
                _blame(problems, (), f"written-partition-chunks.txt holds {_shown(line)}, which is no pair of this run")
            else:
                pairs.setdefault(match[2], []).append(int(match[1]))
        for chunk_id, partitions in pairs.items():
            # No pair at all is fine too: those of processed chunks may be dropped.
            touched = sorted({self._partition_of(row) for row in self.chunks[chunk_id].rows})
            if sorted(partitions) != touched:
                reason = f"written-partition-chunks.txt names partitions {partitions}, not {touched}"
                _blame(problems, [chunk_id], reason)

    def _expected(self, chunk_ids: Iterable[str]) -> list[Counter[Row]]:
        expected: list[Counter[Row]] = [Counter() for _ in range(self.num_partitions)]
        for chunk_id in chunk_ids:
            for row in self.chunks[chunk_id].rows:
                expected[self._partition_of(row)][row] += 1
        return expected

    def _partition_of(self, row: Row) -> int:
        return int(row[0]) % self.num_partitions

    def _name(self, partition: int) -> str:
        return f"{self._prefix}{partition:03d}.csv"

    def _read(self, partition: int) -> PartitionFile:
        return read_partition_file(os.path.join(self._partitions_dir, self._name(partition)))

    def _state_lines(self, name: str) -> list[str]:
        try:
            with open(os.path.join(self._state_dir, name), encoding="utf-8", errors="replace", newline="") as file:
                return file.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def _resembling(self, text: str) -> list[str]:
        """The chunks with the row that shares the longest beginning, or the longer half of an end, with `text`."""
        best, owners = _FEWEST_COMMON_CHARACTERS - 1, []
        for row, row_owners in self._owners.items():
            line = _line_of(row)
            common, at_end = _common_length(text, line), _common_length(text[::-1], line[::-1])
            # Any two lines end alike to some degree.
            common = max(common, at_end if 2 * at_end >= len(text) else 0)
            if common > best:
                best, owners = common, row_owners
        return owners


@functools.lru_cache(maxsize=1 << 16)
def _line_of(row: Row) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _common_length(one: str, other: str) -> int:
    length = min(len(one), len(other))
    return next((i for i in range(length) if one[i] != other[i]), length)


def _names_in(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _blame(problems: Problems, chunk_ids: Iterable[str], reason: str) -> None:
    for chunk_id in list(chunk_ids) or [UNKNOWN_ID]:
        problems.setdefault(chunk_id, reason)
