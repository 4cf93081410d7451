"""What became of a file that a fault fell on: its bytes after the first change in a later life, and at the end.

It keeps no file open and reads only when it is told of a change; how a file is read is the caller's to say, so that it
works wherever programs run. A file that was renamed is not followed: under its old name it is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.model.events import AnyEvent, FaultFired, FileLater

Read = Callable[[str, str, int], tuple[int, bytes] | None]
"""Of a program's file `path` (relative to its data) its length and some bytes from an offset; None: there is none."""


@dataclass
class _Watched:
    program: str
    life: int
    path: str
    fault: FaultFired
    changed: bool = False

    @property
    def offset(self) -> int:
        return max(0, (self.fault.file_bytes or 0) - len(self.fault.tail or b""))


class Aftermath:
    """The files of one run that faults fell on. Everything it sees goes to `emit`, at `now_s()`."""

    def __init__(self, read: Read, emit: Callable[[AnyEvent], None], now_s: Callable[[], float]) -> None:
        self._read, self._emit, self._now_s = read, emit, now_s
        self._watched: list[_Watched] = []

    def fired(self, fault: FaultFired) -> None:
        """A fault fell on a call; only one on a file is watched, as `program/life/op:path#nth` names it."""
        if fault.file_bytes is not None:
            program, life, call = fault.point.split("/", 2)
            path = call.split(":", 1)[1].rsplit("#", 1)[0]
            self._watched.append(_Watched(program, int(life), path, fault))

    def changed(self, program: str, life: int, path: str) -> None:
        """A program has changed a file."""
        for file in self._watched:
            if not file.changed and (file.program, file.path) == (program, path) and life > file.life:
                file.changed = True
                self._look(file, ended=False)

    def end(self) -> None:
        """The run is over: every file once more."""
        for file in self._watched:
            self._look(file, ended=True)
        self._watched.clear()

    def _look(self, file: _Watched, ended: bool) -> None:
        found = self._read(file.program, file.path, file.offset)
        size, data = (None, b"") if found is None else (found[0], found[1])
        self._emit(FileLater(self._now_s(), file.fault.step, file.offset, size, data, ended))
