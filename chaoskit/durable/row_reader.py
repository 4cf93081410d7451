"""Reads the rows of a metadata CSV file in blocks and finds where its good part ends.

Only the tail of a file can be torn, because each write is durable before the next one starts. So a bad tail is cut by
the caller, and anything else that is wrong stops the rebuild. It changes no file.
"""

from __future__ import annotations

from typing import BinaryIO

from chaoskit.durable.errors import CorruptFileError
from chaoskit.durable.row_format import MAX_ROW_BYTES, RowFormat, UpdateState, feed
from chaoskit.durable.row_index import BLOCK_BYTES, RowIndex


class RowReader:
    """One pass over one file: each unique row goes to `update` and into `index`."""

    def __init__(self, path: str, row_format: RowFormat, index: RowIndex, update: UpdateState) -> None:
        self._path = path
        self._format = row_format
        self._index = index
        self._update = update
        self._offset = 0
        self._line = 1
        self._size = 0

    def read(self, file: BinaryIO, size: int) -> int:
        """Return the length in bytes of the good part of the `size` bytes. Raises CorruptFileError."""
        self._size = size
        if not self._read_header(file):
            return 0
        rest = b""
        while block := file.read(BLOCK_BYTES):
            end = block.rfind(b"\n") + 1
            whole, rest = (rest + block[:end], block[end:]) if end else (b"", rest + block)
            if len(rest) > MAX_ROW_BYTES + BLOCK_BYTES:
                raise self._corrupt("it is longer than any row")
            if whole and not self._take_block(whole):
                break
        return self._offset

    def _read_header(self, file: BinaryIO) -> bool:
        header = self._format.header
        start = file.read(len(header))
        if start == header:
            self._offset, self._line = len(header), 2
            return True
        # After a power loss the tail of a file may be zeros instead of what was written.
        if self._size < len(header) and header.startswith(start.rstrip(b"\0")):
            return False
        shown = start.split(b"\n")[0].decode(errors="replace")
        raise self._corrupt(f"the header is {shown!r} instead of {header.decode().rstrip()!r}")

    def _take_block(self, whole: bytes) -> bool:
        """Take whole lines; False when the last line of the file is bad, and with it the end of the good part."""
        by_column = self._format.split_block(whole)
        if by_column is None or not self._index.add_block(by_column[0], self._offset):
            return all(map(self._take_line, whole.split(b"\n")[:-1]))
        self._give(by_column)
        self._offset += len(whole)
        self._line += len(by_column[0])
        return True

    def _take_line(self, line: bytes) -> bool:
        fault = self._format.fault_in(line)
        if fault is not None:
            if self._offset + len(line) + 1 < self._size:
                raise self._corrupt(fault)
            return False
        fields = line.decode().split(",")
        if self._index.add(fields[0], self._offset):
            self._give([[field] for field in fields])
        self._offset += len(line) + 1
        self._line += 1
        return True

    def _give(self, by_column: list[list[str]]) -> None:
        try:
            feed(self._format.columns, by_column, self._update)
        except (ValueError, LookupError, ArithmeticError) as error:
            rows = len(by_column[0])
            where = f"it or one of the {rows - 1} after it is" if rows > 1 else "it is"
            raise self._corrupt(f"{where} refused by the client's state: {error}") from error

    def _corrupt(self, fault: str) -> CorruptFileError:
        return CorruptFileError(
            f"{self._path}:{self._line}: {fault}; no crash leaves this behind: correct the file or move it away"
        )
