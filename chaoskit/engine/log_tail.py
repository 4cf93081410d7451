"""The log lines of a run in the order in which they came, from its journal, whether it is over or still being written.

It shows nothing, and it keeps no more lines than were asked for.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from chaoskit.model import events
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, LogLine, LogsCut, ProgramExited, RunEnded, RunStarted

_PAUSE_S = 0.1
_BLOCK_BYTES = 1 << 20
Shown = LogLine | LogsCut | ProgramExited


class JournalTail:
    """Reads a journal on from where it was; a line that is not whole yet waits."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new(self) -> Iterator[AnyEvent]:
        """The events that came since the last call. Raises UsageError when the journal cannot be read."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                rest = b""
                while block := file.read(_BLOCK_BYTES):
                    *lines, rest = (rest + block).split(b"\n")
                    self._offset += sum(len(line) + 1 for line in lines)
                    yield from (event for line in lines if (event := _decoded(line)) is not None)
        except OSError as e:
            raise UsageError(f"{self._path}: {e.strerror}: is this the directory of a run?") from None


def _decoded(line: bytes) -> AnyEvent | None:
    try:
        return events.decode(line)
    except (msgspec.DecodeError, ValueError):
        return None


def history(tail: JournalTail, programs: Collection[str], last: int | None) -> tuple[list[AnyEvent], bool]:
    """What there is to show until now, and whether the run is over.

    Of each program only the `last` lines, all when None. The RunStarted event comes first.
    """
    kept: deque[tuple[int, AnyEvent]] = deque()
    counts: dict[str, int] = {}
    started: list[AnyEvent] = []
    over = False
    for event in tail.new():
        if isinstance(event, RunStarted):
            started.append(event)
        elif isinstance(event, RunEnded):
            over = True
        elif isinstance(event, Shown) and (not programs or event.program in programs):
            counts[event.program] = counts.get(event.program, 0) + 1
            kept.append((counts[event.program], event))
    chosen = (event for n, event in kept if last is None or _among_last(n, event, counts, last))
    return [*started, *chosen], over


def _among_last(n: int, event: AnyEvent, counts: dict[str, int], last: int) -> bool:
    return isinstance(event, Shown) and n > counts[event.program] - last


def follow(tail: JournalTail, programs: Collection[str], alive: Callable[[], bool]) -> Iterator[Shown]:
    """What comes from now on, until the run ends or whoever writes it is dead."""
    while True:
        still_written = alive()
        for event in tail.new():
            if isinstance(event, RunEnded):
                return
            if isinstance(event, Shown) and (not programs or event.program in programs):
                yield event
        if not still_written:
            return
        time.sleep(_PAUSE_S)
