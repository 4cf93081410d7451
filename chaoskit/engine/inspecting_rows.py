"""What is in a metadata CSV file, as bytes: its rows, each with a mark when something is the matter with it.

Only the end of a file can be torn by a crash: the last line, or the header when there is nothing else. Anything else
that is wrong was not left behind by a crash and counts as corrupt. Pure; nothing in the file is believed.
"""

import re
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Literal

import msgspec

from chaoskit.durable.row_format import RowFormat

Mark = Literal["", "duplicate", "conflict", "torn", "bad"]
Header = Literal["whole", "torn", "missing", "foreign"]
_SHOWN_BYTES = 120
_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(\.[0-9]{1,50})?")
_DIGITS = 400


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the file, numbered from 1. A torn or bad one has no fields but `raw`, the repr of its bytes."""

    line: int
    fields: list[str] = []
    mark: Mark = ""
    note: str = ""
    raw: str = ""


class MetadataRows(msgspec.Struct, frozen=True):
    """A whole file. `sum` adds the last column of the unique rows, as far as it is numeric."""

    columns: list[str]
    header: Header
    rows: list[Row]
    count: int
    unique: int
    duplicates: int
    sum: int | float | None
    not_numeric: int
    torn: str | None
    faults: list[str]

    @property
    def corrupt(self) -> bool:
        """Something is wrong that no crash leaves behind."""
        return bool(self.faults)


def shown_bytes(data: bytes) -> str:
    """The repr of some bytes, cut where it gets long."""
    if len(data) <= _SHOWN_BYTES:
        return repr(data)
    return f"{data[:_SHOWN_BYTES]!r}... ({len(data)} bytes)"


def parse_metadata(data: bytes, columns: Sequence[str]) -> MetadataRows:
    """The rows of a metadata file whose header ought to be `columns`. Raises ValueError for columns that cannot be."""
    expected = RowFormat(columns)
    if not data.startswith(expected.header):
        if len(data) < len(expected.header) and expected.header.startswith(data.rstrip(b"\0")):
            return _without_rows(expected, data)
        first, _, rest = data.partition(b"\n")
        fault = f"line 1: the header is {shown_bytes(first)} instead of {','.join(expected.columns)!r}"
        return _summed(_format_of(first) or expected, "foreign", _rows(rest, _format_of(first) or expected), [fault])
    return _summed(expected, "whole", _rows(data[len(expected.header) :], expected), [])


def _without_rows(expected: RowFormat, data: bytes) -> MetadataRows:
    if not data:
        return _summed(expected, "missing", [], [])
    return _summed(expected, "torn", [Row(1, mark="torn", note="a part of the header", raw=shown_bytes(data))], [])


def _format_of(header: bytes) -> RowFormat | None:
    try:
        return RowFormat(header.decode().split(","))
    except ValueError:
        return None


def _rows(data: bytes, row_format: RowFormat) -> list[Row]:
    *lines, tail = data.split(b"\n")
    seen: dict[str, Row] = {}
    rows = [_row(number, line, row_format, seen) for number, line in enumerate(lines, 2)]
    if tail:
        rows.append(Row(len(lines) + 2, mark="torn", note="no line break", raw=shown_bytes(tail)))
    elif rows and rows[-1].mark == "bad":
        # A power cut can leave a last line whose bytes never came: it is cut off like one without its line break.
        rows[-1] = msgspec.structs.replace(rows[-1], mark="torn")
    return rows


def _row(number: int, line: bytes, row_format: RowFormat, seen: dict[str, Row]) -> Row:
    fault = row_format.fault_in(line)
    if fault is not None:
        return Row(number, mark="bad", note=fault, raw=shown_bytes(line))
    fields = line.decode().split(",")
    first = seen.get(fields[0])
    if first is None:
        seen[fields[0]] = row = Row(number, fields)
        return row
    if first.fields == fields:
        return Row(number, fields, "duplicate", f"duplicate of line {first.line}")
    return Row(number, fields, "conflict", f"the same {row_format.columns[0]} as line {first.line}, other values")


def _summed(row_format: RowFormat, header: Header, rows: list[Row], faults: list[str]) -> MetadataRows:
    unique = [row for row in rows if row.mark == ""]
    good = sum(1 for row in rows if row.mark in ("", "duplicate", "conflict"))
    total, not_numeric = add_up([row.fields[-1] for row in unique])
    torn = next((row.raw for row in rows if row.mark == "torn"), None)
    found = [f"line {row.line}: {row.note}" for row in rows if row.mark in ("bad", "conflict")]
    return MetadataRows(
        list(row_format.columns),
        header,
        rows,
        good,
        len(unique),
        good - len(unique),
        total,
        not_numeric,
        torn,
        [*faults, *found],
    )


def add_up(texts: Sequence[str]) -> tuple[int | float | None, int]:
    """The sum of those texts that are numbers (None when none is), and how many are not."""
    numbers = [text for text in texts if _NUMBER.fullmatch(text)]
    left = len(texts) - len(numbers)
    if not numbers:
        return None, left
    if not any("." in text for text in numbers):
        return sum(map(int, numbers)), left
    with localcontext() as context:
        context.prec = _DIGITS
        return float(sum(map(Decimal, numbers), Decimal(0))), left
