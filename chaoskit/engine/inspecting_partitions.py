"""What is in the files of a partition writer, as bytes: partition files, lists of chunks, the intent, the layout.

As with metadata, only an end can be torn by a crash. Equal rows are marked but are no fault: two chunks may hold the
same row. Pure; nothing in the files is believed.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

from chaoskit.durable.errors import InvalidMessageError
from chaoskit.durable.names import is_safe_name
from chaoskit.durable.partition_rows import header_bytes, partition_of
from chaoskit.engine.inspecting_rows import Header, Row, shown_bytes


class Layout(msgspec.Struct, frozen=True):
    """What the writer was made with, as its layout file says (or as the contract does when there is none)."""

    num_partitions: int | None = None
    prefix: str = "users"
    columns: tuple[str, ...] = ("user_id", "name")
    key_column: str = ""

    @property
    def key(self) -> int:
        """The index of the column that decides the partition."""
        return self.columns.index(self.key_column) if self.key_column in self.columns else 0


class PartitionRows(msgspec.Struct, frozen=True):
    """A partition file. `header` compares its first line with `columns`."""

    columns: tuple[str, ...]
    header: Header
    rows: list[Row]
    count: int
    duplicates: int
    torn: str | None
    faults: list[str]

    @property
    def corrupt(self) -> bool:
        """Something is wrong that no crash leaves behind."""
        return bool(self.faults)


class ChunkLines(msgspec.Struct, frozen=True):
    """A file with a chunk a line, or a partition and a chunk."""

    lines: list[Row]
    count: int
    duplicates: int
    torn: str | None
    faults: list[str]


class PendingIntent(
    msgspec.Struct, frozen=True, rename={"chunk_id": "chunk", "client_id": "client", "base_bytes": "base"}
):
    """The chunk that was being written last, and how long each partition file was before."""

    chunk_id: str
    client_id: str
    base_bytes: dict[int, int]


class IntentFile(msgspec.Struct, frozen=True):
    """`whole`: `intent` is set; `torn`: a crash cut the first one, so there is none. `raw` is what is there of it."""

    state: Literal["none", "whole", "torn"]
    intent: PendingIntent | None = None
    raw: str = ""


def parse_layout(data: bytes) -> Layout | None:
    """The layout of a writer; None when the bytes are none."""
    try:
        layout = msgspec.json.decode(data, type=Layout)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not layout.columns or (layout.num_partitions is not None and layout.num_partitions < 1):
        return None
    return layout


def parse_partition(data: bytes, number: int, layout: Layout) -> PartitionRows:
    """The rows of partition `number`."""
    header = header_bytes(layout.columns)
    if not data.startswith(header):
        if len(data) < len(header) and header.startswith(data.rstrip(b"\0")):
            torn = [Row(1, mark="torn", note="a part of the header", raw=shown_bytes(data))] if data else []
            return _counted(layout, "torn" if data else "missing", torn, [])
        first, _, rest = data.partition(b"\n")
        fault = f"line 1: the header is {shown_bytes(first)} instead of {header.decode().rstrip()!r}"
        return _counted(layout, "foreign", _rows(rest, number, layout), [fault])
    return _counted(layout, "whole", _rows(data[len(header) :], number, layout), [])


def _rows(data: bytes, number: int, layout: Layout) -> list[Row]:
    rows: list[Row] = []
    seen: dict[tuple[str, ...], int] = {}
    for line, record, whole in _records(data):
        if not whole:
            rows.append(Row(line, mark="torn", note="not ended", raw=shown_bytes(record)))
            continue
        row = _row(line, record, number, layout)
        if row.mark == "" and (first := seen.setdefault(tuple(row.fields), line)) != line:
            row = Row(line, row.fields, "duplicate", f"the same as line {first}")
        rows.append(row)
    return rows


def _records(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Line number, bytes and whether it is whole, of each record: a line break in quotes ends none."""
    lines = data.split(b"\n")
    start, in_quotes = 0, False
    for i, line in enumerate(lines[:-1]):
        in_quotes ^= line.count(b'"') % 2 == 1
        if not in_quotes:
            yield start + 2, b"\n".join(lines[start : i + 1]), True
            start = i + 1
    if rest := b"\n".join(lines[start:]):
        yield start + 2, rest, False


def _row(line: int, record: bytes, number: int, layout: Layout) -> Row:
    try:
        fields = next(csv.reader(io.StringIO(record.decode(), newline=""), strict=True), [])
    except (UnicodeDecodeError, csv.Error) as e:
        return Row(line, mark="bad", note=f"not a CSV row: {e}", raw=shown_bytes(record))
    note = _fault(fields, number, layout)
    return Row(line, mark="bad", note=note, raw=shown_bytes(record)) if note else Row(line, fields)


def _fault(fields: Sequence[str], number: int, layout: Layout) -> str:
    if tuple(fields) == layout.columns:
        return "the header once more"
    if len(fields) != len(layout.columns):
        return f"{len(fields)} fields instead of {len(layout.columns)}"
    if layout.num_partitions is None:
        return ""
    try:
        partition = partition_of(fields[layout.key], layout.num_partitions)
    except InvalidMessageError as e:
        return f"{layout.columns[layout.key]}: {e}"
    return "" if partition == number else f"it belongs to partition {partition}"


def _counted(layout: Layout, header: Header, rows: list[Row], faults: list[str]) -> PartitionRows:
    good = sum(1 for row in rows if row.mark in ("", "duplicate"))
    return PartitionRows(layout.columns, header, rows, good, _duplicates(rows), _torn(rows), [*faults, *_faults(rows)])


def _duplicates(rows: list[Row]) -> int:
    return sum(1 for row in rows if row.mark == "duplicate")


def _torn(rows: list[Row]) -> str | None:
    return next((row.raw for row in rows if row.mark == "torn"), None)


def _faults(rows: list[Row]) -> list[str]:
    return [f"line {row.line}: {row.note}" for row in rows if row.mark == "bad"]


# --- state files ---


def parse_processed(data: bytes) -> ChunkLines:
    """processed-chunks.txt: a chunk id a line."""
    return _chunk_lines(data, lambda text: "" if is_safe_name(text) else "not a chunk id")


def parse_written(data: bytes) -> ChunkLines:
    """written-partition-chunks.txt: a partition, a colon and a chunk id a line."""
    return _chunk_lines(data, _pair_fault)


def _pair_fault(text: str) -> str:
    partition, _, chunk_id = text.partition(":")
    good = partition.isascii() and partition.isdecimal() and is_safe_name(chunk_id)
    return "" if good else "not partition:chunk id"


def _chunk_lines(data: bytes, fault_in: Callable[[str], str]) -> ChunkLines:
    *lines, tail = data.split(b"\n")
    seen: dict[str, int] = {}
    rows = [_chunk_line(number, line, fault_in, seen) for number, line in enumerate(lines, 1)]
    if tail:
        rows.append(Row(len(lines) + 1, mark="torn", note="no line break", raw=shown_bytes(tail)))
    good = sum(1 for row in rows if row.mark in ("", "duplicate"))
    return ChunkLines(rows, good, _duplicates(rows), _torn(rows), _faults(rows))


def _chunk_line(number: int, line: bytes, fault_in: Callable[[str], str], seen: dict[str, int]) -> Row:
    text = line.decode("utf-8", "replace")
    if note := fault_in(text):
        return Row(number, mark="bad", note=note, raw=shown_bytes(line))
    first = seen.setdefault(text, number)
    return Row(number, [text]) if first == number else Row(number, [text], "duplicate", f"the same as line {first}")


def parse_intent(data: bytes) -> IntentFile:
    """The intent file: one JSON object a line, the last whole one counts; a torn line after it was never made."""
    whole, newline, torn = data.rpartition(b"\n")
    if not newline:
        return IntentFile("torn", raw=shown_bytes(torn)) if torn else IntentFile("none")
    last = whole.rpartition(b"\n")[2]
    try:
        intent = msgspec.json.decode(last, type=PendingIntent)
    except (msgspec.DecodeError, RecursionError):
        return IntentFile("torn", raw=shown_bytes(last))
    return IntentFile("whole", intent, shown_bytes(last + newline + torn))
