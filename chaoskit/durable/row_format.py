r"""One row of a metadata CSV file: how it is written and what counts as a whole one.

A row is its fields joined by commas, in UTF-8, ended by one `\n`. A field holds no comma, quote, CR, LF or NUL, so a
row never needs quoting, and any proper prefix of a row is visibly torn: it lacks the `\n`. It does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from chaoskit.durable.errors import InvalidMessageError

MAX_ROW_BYTES = 1 << 16
_FORBIDDEN = frozenset(',"\r\n\0')
_PLAIN_LINE = re.compile('[^"\r\n\0]*').fullmatch
# Exact types, so that a bool, which is an int, is refused.
_TEXT_OR_NUMBER = frozenset((str, int, float))

RowValues = Mapping[str, object] | Sequence[object]
UpdateState = Callable[[dict[str, str]], object]


class Row(NamedTuple):
    """A row that may be written: its message id, its fields in column order, its bytes with the `\\n`."""

    message_id: str
    fields: tuple[str, ...]
    line: bytes


class RowFormat:
    """The columns of a file; the first one is the message id."""

    def __init__(self, columns: Sequence[str]) -> None:
        """Raises ValueError for no columns, a column twice, or a column name that needs quoting."""
        self.columns = tuple(columns)
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise ValueError(f"csv_columns must be one or more different names, not {self.columns!r}")
        for column in self.columns:
            if not column or _FORBIDDEN.intersection(column):
                raise ValueError(f"csv_columns: {column!r} is empty or holds a comma, quote or line break")
        self.header = (",".join(self.columns) + "\n").encode()

    def encode(self, values: RowValues) -> Row:
        """Return the row of `values`: a mapping with every column, or a sequence in column order.

        Values are str, int or float. Raises InvalidMessageError.
        """
        ordered = self._in_order(values)
        fields = tuple([value if type(value) is str else str(value) for value in ordered])
        text = ",".join(fields)
        if (
            not _PLAIN_LINE(text)
            or text.count(",") != len(fields) - 1
            or not _TEXT_OR_NUMBER.issuperset(map(type, ordered))
        ):
            raise InvalidMessageError(self._fault_of(ordered))
        if not fields[0]:
            raise InvalidMessageError(f"{self.columns[0]} is empty")
        try:
            line = (text + "\n").encode()
        except UnicodeEncodeError as error:
            raise InvalidMessageError(f"the row is not valid Unicode: {error.reason}") from error
        if len(line) > MAX_ROW_BYTES:
            raise InvalidMessageError(f"the row has {len(line)} bytes, more than {MAX_ROW_BYTES}")
        return Row(fields[0], fields, line)

    def _fault_of(self, values: Sequence[object]) -> str:
        for column, value in zip(self.columns, values, strict=True):
            if type(value) not in _TEXT_OR_NUMBER:
                return f"{column} must be text or a number, not {type(value).__name__}"
            if _FORBIDDEN.intersection(str(value)):
                break
        return f"{column} holds a comma, quote, line break or NUL"

    def _in_order(self, values: RowValues) -> Sequence[object]:
        if isinstance(values, Mapping):
            missing = [column for column in self.columns if column not in values]
            if missing:
                raise InvalidMessageError(f"the row has no {', '.join(missing)}")
            return [values[column] for column in self.columns]
        if isinstance(values, str) or len(values) != len(self.columns):
            raise InvalidMessageError(f"the row must have the {len(self.columns)} values {', '.join(self.columns)}")
        return values

    def named(self, fields: Sequence[str]) -> dict[str, str]:
        """Return `{column: field}`."""
        return dict(zip(self.columns, fields, strict=True))

    def fault_in(self, line: bytes) -> str | None:
        r"""Say in a few words what is wrong with a line (without its `\n`), or None when it is a good row."""
        try:
            fields = line.decode().split(",")
        except UnicodeDecodeError:
            return "it is not UTF-8"
        if len(fields) != len(self.columns):
            return f"it has {len(fields)} fields instead of {len(self.columns)}"
        if not fields[0]:
            return f"its {self.columns[0]} is empty"
        if _FORBIDDEN.intersection(line.decode()) - {","}:
            return "it holds a quote, CR or NUL"
        return None

    def split_block(self, block: bytes) -> list[list[str]] | None:
        r"""Split whole lines into one list per column, or None when a line among them is not a good row.

        Splitting a block at once, with a marker field for each line end, is what makes a rebuild about as fast as
        csv.reader: no Python code runs for a single row.
        """
        width = len(self.columns) + 1
        if b'"' in block or b"\r" in block or b"\0" in block:
            return None
        try:
            flat = block.decode().replace("\n", ",\n,").split(",")
        except UnicodeDecodeError:
            return None
        flat.pop()
        ends = flat[width - 1 :: width]
        if len(ends) * width != len(flat) or ends.count("\n") != len(ends):
            return None
        by_column = [flat[index::width] for index in range(width - 1)]
        return None if "" in by_column[0] else by_column


def feed(columns: Sequence[str], by_column: list[list[str]], update: UpdateState) -> None:
    """Call `update` with each row of a block as a new `{column: field}`.

    Three columns, the width of this project's own files, are spelled out: a dict display costs half of
    `dict(zip(...))`, and a million rows feel it.
    """
    if len(columns) == 3:
        first, second, third = columns
        for a, b, c in zip(*by_column, strict=True):
            update({first: a, second: b, third: c})
        return
    for fields in zip(*by_column, strict=True):
        update(dict(zip(columns, fields, strict=True)))
