r"""Rows of partition files: which partition a row belongs to, and its bytes. Pure functions, no file is touched.

A row is written as CSV with `,` between fields and `\n` at its end; a field with a comma, a quote or a line break
stands in quotes. What a CSV reader gets back is what came in.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from chaoskit.durable.errors import InvalidMessageError

Field = str | int
Row = Sequence[Field]

# More digits than any real id has; int() of a text of megabytes would take seconds.
MAX_KEY_DIGITS = 100

_KEY = re.compile(rf"-?[0-9]{{1,{MAX_KEY_DIGITS}}}")
_NEEDS_QUOTES = re.compile(r'[",\r\n]').search
_BOM = "\ufeff"


def partition_of(key: str, num_partitions: int) -> int:
    """The partition, 0 to `num_partitions - 1`, of a row whose key is the decimal integer `key`.

    The remainder is never negative: -1 with 5 partitions is in partition 4. Raises InvalidMessageError when `key` is
    not an optional `-` and 1 to 100 ASCII digits (no `+`, no blank, no `_`).
    """
    if _KEY.fullmatch(key) is None:
        shown = key if len(key) <= 40 else key[:37] + "..."
        raise InvalidMessageError(f"{shown!r} is not an integer of at most {MAX_KEY_DIGITS} digits")
    return int(key) % num_partitions


def encode_row(fields: Sequence[str]) -> str:
    r"""One row as CSV text with its `\n`."""
    if len(fields) == 1 and not fields[0]:
        return '""\n'  # An empty line would be no row at all for a CSV reader.
    return ",".join([_quoted(field) if _NEEDS_QUOTES(field) else field for field in fields]) + "\n"


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


def header_bytes(columns: Sequence[str]) -> bytes:
    """The first line of every partition file."""
    return encode_row(columns).encode()


def group_rows(rows: Iterable[Row], columns: Sequence[str], key: int, num_partitions: int) -> dict[int, bytes]:
    """The bytes that each partition gets, in ascending order of partitions; rows keep their order.

    `key` is the index of the column that decides the partition. Raises InvalidMessageError for the first row that has
    another number of fields, a key that is no integer, or text that UTF-8 cannot hold.
    """
    texts: dict[int, list[str]] = {}
    for number, row in enumerate(rows, 1):
        try:
            fields = [field if type(field) is str else _text(field) for field in row]
            if len(fields) != len(columns):
                raise InvalidMessageError(f"{len(fields)} fields, not {len(columns)} ({','.join(columns)})")
            partition = partition_of(fields[key], num_partitions)
        except InvalidMessageError as error:
            raise InvalidMessageError(f"row {number}: {error}") from error
        texts.setdefault(partition, []).append(encode_row(fields))
    return {partition: _utf8("".join(texts[partition])) for partition in sorted(texts)}


def _text(field: object) -> str:
    if isinstance(field, bool) or not isinstance(field, (str, int)):
        raise InvalidMessageError(f"a field is text or an integer, not {type(field).__name__}")
    return str(field)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessageError(f"a row holds text that is not Unicode: {error.reason}") from error


def parse_csv(text: str, columns: Sequence[str]) -> list[list[str]]:
    """The rows of a chunk's CSV text, whose first line names the columns.

    Raises InvalidMessageError, with the number of the row, for another header, a row with too few or too many fields,
    a quote that is never closed, or a field that is longer than the csv module allows.
    """
    reader = csv.reader(io.StringIO(text.removeprefix(_BOM), newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        header = next(reader, None)
        if header != list(columns):
            raise InvalidMessageError(f"the first line is not {','.join(columns)}")
        for row in reader:
            rows.append(row)  # noqa: PERF402 - rows that were read before an error give its place.
    except csv.Error as error:
        raise InvalidMessageError(f"row {len(rows) + 1}: {error}") from error
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise InvalidMessageError(f"row {number}: {len(row)} fields, not {len(columns)} ({','.join(columns)})")
    return rows
