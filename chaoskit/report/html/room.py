"""How much of a long journal a page has room for: what matters, and of the rest what is nearest to a fault."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

MOST_ROWS = 20_000
MOST_BYTES = 3_500_000
_MATTERS = ("start", "exit", "fault", "verdict", "note")
_OVERHEAD_BYTES = 60


def within(rows: Sequence[list[Any]]) -> list[list[Any]]:
    """The rows that there is room for, in their order."""
    if len(rows) <= MOST_ROWS and sum(map(_bytes, rows)) <= MOST_BYTES:
        return list(rows)
    faults = [i for i, row in enumerate(rows) if row[1] == "fault"] or [len(rows) - 1]
    nearest_first = sorted(range(len(rows)), key=lambda i: (rows[i][1] not in _MATTERS, _distance(i, faults)))
    kept: list[int] = []
    room = MOST_BYTES
    for i in nearest_first[:MOST_ROWS]:
        room -= _bytes(rows[i])
        if room < 0:
            break
        kept.append(i)
    return [rows[i] for i in sorted(kept)]


def _distance(i: int, faults: Sequence[int]) -> int:
    """How many rows lie between this one and the nearest fault."""
    after = bisect_left(faults, i)
    return min(abs(i - faults[j]) for j in (after - 1, after) if 0 <= j < len(faults))


def _bytes(row: Sequence[Any]) -> int:
    """At most what the row takes in the page: text that is escaped takes up to six bytes a character."""
    text = str(row[4])
    escaped = sum(text.count(c) for c in '<>&"\\')
    return _OVERHEAD_BYTES + len(text.encode()) + 5 * escaped
