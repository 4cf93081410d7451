"""Which message ids a file holds and roughly where: exact about "whether", to one block about "where".

It does no I/O and keeps no payload.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from chaoskit.durable.known_ids import Bounds, KnownIds

BLOCK_BYTES = 1 << 16


class _Segment(NamedTuple):
    """A stretch of the file that starts at a row; its ids lie between `low` and `high` in text order."""

    offset: int
    low: str
    high: str


class RowIndex:
    """The message ids of one file, in the order of the file."""

    def __init__(self) -> None:
        self._known = KnownIds()
        self._segments: list[_Segment] = []

    def __len__(self) -> int:
        """Return the number of unique message ids."""
        return len(self._known)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._known

    def add(self, message_id: str, offset: int) -> bool:
        """Add the id of the row at `offset` (bytes); False when it was known."""
        if message_id in self._known:
            return False
        self.add_new(message_id, offset)
        return True

    def add_new(self, message_id: str, offset: int) -> None:
        """Add the id of the row at `offset` (bytes), which is not in the index, as the caller has to know."""
        self._known.add_new(message_id)
        self._note(offset, Bounds(message_id, message_id))

    def add_block(self, message_ids: list[str], offset: int) -> bool:
        """Add the ids of the rows from `offset` on; False, and nothing added, when each needs a look of its own."""
        bounds = self._known.add_all(message_ids)
        if bounds is None:
            return False
        self._note(offset, bounds)
        return True

    def _note(self, offset: int, bounds: Bounds) -> None:
        last = self._segments[-1] if self._segments else None
        if last is None or offset - last.offset >= BLOCK_BYTES:
            self._segments.append(_Segment(offset, *bounds))
        else:
            low, high = min(last.low, bounds.low), max(last.high, bounds.high)
            self._segments[-1] = _Segment(last.offset, low, high)

    def stretches(self, message_id: str) -> Iterator[tuple[int, int | None]]:
        """Yield (start, stop) offsets in bytes where the row of `message_id` may be; stop None is the end."""
        for index, segment in enumerate(self._segments):
            if segment.low <= message_id <= segment.high:
                following = self._segments[index + 1] if index + 1 < len(self._segments) else None
                yield segment.offset, following.offset if following else None
