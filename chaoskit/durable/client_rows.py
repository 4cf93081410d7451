"""The metadata CSV file of one client: rebuilt by streaming, appended to row by row or in batches.

It tells a true duplicate from a known message id with another payload. It does not know what the rows mean and keeps
none of them in memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from chaoskit.durable.errors import ConflictingMessageError, CorruptFileError, MustExitError
from chaoskit.durable.files import Disk
from chaoskit.durable.row_format import Row, RowFormat, UpdateState
from chaoskit.durable.row_index import RowIndex
from chaoskit.durable.row_reader import RowReader


class ClientRows:
    """The rows of one client on disk. Changes memory only after the disk did."""

    def __init__(self, path: str, row_format: RowFormat, disk: Disk) -> None:
        self.path = path
        self._format = row_format
        self._disk = disk
        self._index = RowIndex()

    def __len__(self) -> int:
        """Return the number of unique message ids."""
        return len(self._index)

    def holds(self, row: Row) -> bool:
        """Tell whether this very row is on disk. Raises ConflictingMessageError for its id with other values."""
        if row.message_id not in self._index:
            return False
        if self._stored_line(row.message_id) != row.line:
            raise ConflictingMessageError(f"message id {row.message_id} is known with another payload ({self.path})")
        return True

    def append(self, rows: Sequence[Row]) -> int:
        """Make rows with new, different ids durable at once; return the offset of the first. Raises as Disk.append."""
        start = self._disk.append(self.path, b"".join([row.line for row in rows]), header=self._format.header)
        offset = start
        for row in rows:
            self._index.add_new(row.message_id, offset)
            offset += len(row.line)
        return start

    def take_back(self, offset: int) -> None:
        """Cut the file to `offset`, which `append` returned. The object is stale then: build a new one."""
        self._disk.cut(self.path, offset)

    def rebuild(self, update: UpdateState) -> int:
        """Give each unique row to `update`, cut a torn tail, fsync; return the number of bytes that were cut.

        Raises CorruptFileError, with the file unchanged, when something other than the tail is wrong, and
        MustExitError when the repair fails.
        """
        with _open(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            end = RowReader(self.path, self._format, self._index, update).read(file, size)
        if end < size:
            self._disk.cut(self.path, end)
        else:
            self._disk.sync_file(self.path)
        return size - end

    def _stored_line(self, message_id: str) -> bytes:
        start_of_row = f"\n{message_id}{',' if len(self._format.columns) > 1 else ''}".encode()
        with _open(self.path) as file:
            for start, stop in self._index.stretches(message_id):
                # One byte more in front: every row, also the first, follows a line break.
                file.seek(start - 1)
                text = file.read(-1 if stop is None else stop - start + 1)
                found = text.find(start_of_row)
                if found >= 0:
                    return text[found + 1 : text.index(b"\n", found + 1) + 1]
        raise MustExitError(f"{self.path} no longer holds message id {message_id}; exit and start again")


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb", opener=_open_no_follow)
    except OSError as error:
        raise CorruptFileError(f"cannot read {path}: {error.strerror}; correct that and start again") from error


def _open_no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
