"""Files that a fault fell on, read once more when a later life has changed them: what the repair made of them."""

import base64
import contextlib
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from chaoskit.tap import Call, Fired, Report

SHOWN_BYTES = 512
"""How much of a file is read."""

# A link could lead out of the data directory, and the open of a pipe would wait.
_O_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_below(root: Path, path: str, offset: int) -> tuple[int, bytes] | None:
    """Of the file `path` below `root` its length and SHOWN_BYTES from an offset; None when there is none."""
    with contextlib.suppress(OSError), open(os.open(root / path, _O_LOOK), "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            file.seek(offset)
            return status.st_size, file.read(SHOWN_BYTES)
    return None


class _Hurt(NamedTuple):
    program: str
    path: str
    life: int
    offset: int


class Revisits:
    """The files of one run. `file_of` a report is what its event says of a file that was hurt before."""

    def __init__(self) -> None:
        self._hurt: list[_Hurt] = []

    def file_of(self, report: Report, data: Path) -> list[dict[str, Any]]:
        """The file that a Call changed, as it is while the call is answered, once for each place of an earlier hurt.

        With fields for the wire: `offset`, `file_bytes` and `data` (base64), the last two missing when it is gone.
        Empty for every other report.
        """
        event = report.event
        if isinstance(event, Fired) and report.file_bytes is not None:
            path = event.point.split(":", 1)[1].rpartition("#")[0]
            offset = max(0, report.file_bytes - len(report.tail or b""))
            self._hurt.append(_Hurt(report.program, path, report.life, offset))
        elif isinstance(event, Call):
            offsets = self._offsets(report.program, event.path, report.life)
            return [_as_fields(offset, read_below(data, event.path, offset)) for offset in offsets]
        return []

    def _offsets(self, program: str, path: str, life: int) -> list[int]:
        hurt_before = [hurt for hurt in self._hurt if (hurt.program, hurt.path) == (program, path) and hurt.life < life]
        return sorted({hurt.offset for hurt in hurt_before})


def _as_fields(offset: int, found: tuple[int, bytes] | None) -> dict[str, Any]:
    if found is None:
        return {"offset": offset}
    return {"offset": offset, "file_bytes": found[0], "data": base64.b64encode(found[1]).decode()}
