r"""What a start finds in partition files, and makes right: undo by recorded length, heal what no record covers.

`cut_to_base` takes away what a chunk wrote before it was recorded. It needs no parsing, so torn rows, torn headers,
line breaks in quotes and equal rows of other chunks are all the same to it. `cut_to_whole_rows` is for files that come
without a record, such as those of a worker that kept none. It looks at the first and the last bytes of a file only,
and reads a whole file in the one case that its last line is torn: only from the start can one tell a line break
between rows from one in quotes. Neither decides which chunks are done.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from chaoskit.durable.errors import CorruptFileError, UnusableFileError
from chaoskit.durable.files import Disk, file_size


class Cut(NamedTuple):
    """A repair: the file, the length in bytes that it is cut to, and how many bytes go (0: it only needs an fsync)."""

    path: str
    length_bytes: int
    cut_bytes: int


def apply(disk: Disk, cuts: Iterable[Cut]) -> None:
    """Make the cuts, each durable. Raises MustExitError."""
    for cut in cuts:
        if cut.cut_bytes:
            disk.cut(cut.path, cut.length_bytes)
        else:
            disk.sync_file(cut.path)


def cut_to_base(path: str, base_bytes: int) -> Cut | None:
    """The cut that undoes what was appended after the file had `base_bytes`; None for a file that is not there.

    A file that has that size is to be synced all the same: an earlier life may have died between its cut and its
    fsync, and a power loss would bring the bytes back. Raises CorruptFileError when the file is shorter.
    """
    size = file_size(path)
    if size < base_bytes:
        raise CorruptFileError(f"{path} has {size} bytes and had {base_bytes}; somebody else changed it, look at it")
    return Cut(path, base_bytes, size - base_bytes) if os.path.lexists(path) else None


def cut_to_whole_rows(path: str, header: bytes) -> Cut | None:
    """The cut that heals a torn header or a torn last row; None for a whole file, and for one that is not ours."""
    length = _whole_rows_bytes(path, header)
    size = file_size(path)
    return None if length is None or length == size else Cut(path, length, size - length)


def usable_size(path: str, header: bytes, known_bytes: int | None = None) -> int:
    """The size in bytes of a partition file that rows can follow; 0 when it is missing or empty.

    A file of `known_bytes` is as the caller left it: its content is not looked at. Raises UnusableFileError for a
    directory, a link, another header or a torn last line.
    """
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise UnusableFileError(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnusableFileError(f"{path} is not a regular file; move it away and send the chunk again")
    if status.st_size and status.st_size != known_bytes:
        _check_ends(path, header)
    return status.st_size


def _check_ends(path: str, header: bytes) -> None:
    try:
        first, last = _ends(path, len(header))
    except OSError as error:
        raise UnusableFileError(f"cannot read {path}: {error.strerror}") from error
    if first != header:
        expected = header.decode().rstrip("\n")
        raise UnusableFileError(
            f"{path} does not begin with the line {expected}; move it away and send the chunk again"
        )
    if last != b"\n":
        raise UnusableFileError(f"{path} ends in the middle of a row; restart the worker to repair it")


def _ends(path: str, header_bytes: int) -> tuple[bytes, bytes]:
    """The first `header_bytes` and the last byte of a file that is not empty."""
    with open(path, "rb") as file:
        first = file.read(header_bytes)
        file.seek(-1, os.SEEK_END)
        return first, file.read(1)


def _whole_rows_bytes(path: str, header: bytes) -> int | None:
    """The length in bytes of the whole header and rows at the start of the file; None when it is no partition file."""
    try:
        status = os.stat(path, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size == 0:
            return 0
        first, last = _ends(path, len(header))
    except OSError:
        return None
    if len(first) < len(header):
        return 0 if header.startswith(first) else None
    if first != header:
        return None
    return status.st_size if last == b"\n" else _end_of_last_row(path)


def _end_of_last_row(path: str) -> int:
    end = position = 0
    in_quotes = False
    with open(path, "rb") as file:
        for line in file:
            position += len(line)
            # A quote in a quoted field is doubled, so an odd number of quotes opens or closes one.
            in_quotes ^= line.count(b'"') % 2 == 1
            if line.endswith(b"\n") and not in_quotes:
                end = position
    return end
