"""The journal: append-only JSON lines, one writer, many readers.

Each event is one write to a file opened for appending, so a journal is whole up to its last newline however the
writer ended. Readers skip a torn last line and event types they do not know. It does not fsync: a journal need not
survive a power cut of the machine that tests.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from chaoskit.model import events
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent

FILE_NAME = "journal.jsonl"


class Writer:
    """Appends events to `path`, which must not exist yet. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def append(self, event: AnyEvent) -> None:
        """Write one event as one line."""
        line = events.encode(event) + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]

    def close(self) -> None:
        # A descriptor's number is soon another file's: whoever appends too late must not write there.
        fd, self._fd = self._fd, -1
        os.close(fd)


def read(path: Path) -> list[AnyEvent]:
    """All events of the journal at `path`. Raises UsageError when it cannot be read or a line is no event."""
    return list(_events(path))


def _events(path: Path) -> Iterator[AnyEvent]:
    try:
        data = path.read_bytes()
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}: is this the directory of a run?") from None
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            event = events.decode(line)
        except (msgspec.DecodeError, ValueError) as e:
            raise UsageError(f"{path}, line {number}: not a journal line: {e}") from None
        if event is not None:
            yield event
