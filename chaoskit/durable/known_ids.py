"""A set of message ids that stays small: from a few bytes to some tens of megabytes for a million ids.

Ids like `CLI100000042` (a prefix and a number of fixed width, which is what most producers use) are kept as one
run of numbers that grows, plus the numbers that came out of order. Any other id is kept as it is. Membership is
exact: no hashes, no false positives. It does no I/O.
"""

from __future__ import annotations

from itertools import islice
from operator import lt
from typing import NamedTuple

# Wider numbers gain nothing over text, and hexadecimal ids should not be taken for them.
_MAX_DIGITS = 18
_DIGITS = b"0123456789"


class Bounds(NamedTuple):
    """The smallest and the largest id of a block, as text."""

    low: str
    high: str


class _Numbers:
    """The numbers of one prefix: [start, stop) is complete, `others` lie outside of it."""

    def __init__(self, first: int) -> None:
        self.start = self.stop = first
        self.others: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return self.start <= number < self.stop or number in self.others

    def add(self, number: int) -> None:
        if number == self.stop:
            self.extend(number + 1)
        else:
            self.others.add(number)

    def extend(self, stop: int) -> None:
        self.stop = stop
        while self.stop in self.others:
            self.others.discard(self.stop)
            self.stop += 1

    def add_run(self, first: int, stop: int) -> bool:
        """Add [first, stop) when it continues the run; False, and nothing added, when it does not."""
        if first != self.stop or not self.others.isdisjoint(range(first, stop) if self.others else ()):
            return False
        self.extend(stop)
        return True

    def add_all(self, numbers: list[int]) -> bool:
        """Add all, or nothing when one of them is known or comes twice."""
        new = set(numbers)
        if len(new) != len(numbers) or not self.others.isdisjoint(new) or self._run_meets(new):
            return False
        self.others |= new
        return True

    def _run_meets(self, numbers: set[int]) -> bool:
        return (
            min(numbers) < self.stop
            and max(numbers) >= self.start
            and any(self.start <= number < self.stop for number in numbers)
        )


class KnownIds:
    """The ids of one client. `add` and `add_all` answer whether the ids were new."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], _Numbers] = {}
        self._texts: set[str] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, message_id: str) -> bool:
        if message_id in self._texts:
            return True
        prefix, digits = _split(message_id)
        numbers = self._numbers.get((prefix, len(digits))) if digits else None
        return numbers is not None and int(digits) in numbers

    def add(self, message_id: str) -> bool:
        """Add one id; False when it was known."""
        if message_id in self:
            return False
        self.add_new(message_id)
        return True

    def add_new(self, message_id: str) -> None:
        """Add one id that is not in the set, as the caller has to know."""
        prefix, digits = _split(message_id)
        if digits:
            self._group(prefix, len(digits), int(digits)).add(int(digits))
        else:
            self._texts.add(message_id)
        self._count += 1

    def _group(self, prefix: str, width: int, first: int) -> _Numbers:
        return self._numbers.setdefault((prefix, width), _Numbers(first))

    def add_all(self, message_ids: list[str]) -> Bounds | None:
        """Add a block of one or more ids at once; None, and nothing added, when each needs a look of its own."""
        bounds = self._add_run(message_ids)
        if bounds is None:
            bounds = Bounds(min(message_ids), max(message_ids))
            if not (self._add_numbers(bounds, message_ids) or self._add_texts(message_ids)):
                return None
        self._count += len(message_ids)
        return bounds

    def _add_run(self, message_ids: list[str]) -> Bounds | None:
        """The usual case, ids that count up by one, without a Python object for any of them.

        Ids of one length in strictly rising order between a first and a last one with the same prefix all have that
        prefix; when the rest is digits only and last - first is one less than their number, none is left out.
        """
        bounds = Bounds(message_ids[0], message_ids[-1])
        prefix, low, high = _common(bounds)
        if high - low != len(message_ids) - 1 or self._texts or not _same_shape(prefix, message_ids):
            return None
        if not all(map(lt, message_ids, islice(message_ids, 1, None))):
            return None
        width = len(bounds.low) - len(prefix)
        return bounds if self._group(prefix, width, low).add_run(low, high + 1) else None

    def _add_numbers(self, bounds: Bounds, message_ids: list[str]) -> bool:
        prefix, low, _ = _common(bounds)
        if low < 0 or not self._texts.isdisjoint(message_ids) or not _same_shape(prefix, message_ids):
            return False
        skip = len(prefix)
        numbers = [int(message_id[skip:]) for message_id in message_ids]
        return self._group(prefix, len(bounds.low) - skip, low).add_all(numbers)

    def _add_texts(self, message_ids: list[str]) -> bool:
        new = set(message_ids)
        if self._numbers or len(new) != len(message_ids) or not self._texts.isdisjoint(new):
            return False
        self._texts |= new
        return True


def _split(message_id: str) -> tuple[str, str]:
    """Return the id as prefix and trailing digits; no digits when they are too many to gain anything."""
    prefix = message_id.rstrip("0123456789")
    digits = message_id[len(prefix) :]
    return (prefix, digits) if len(digits) <= _MAX_DIGITS else (message_id, "")


def _common(bounds: Bounds) -> tuple[str, int, int]:
    """Return the common prefix of two ids and their numbers, or -1 and -2 when they differ in more than the number."""
    prefix, low = _split(bounds.low)
    other, high = _split(bounds.high)
    if not low or prefix != other or len(low) != len(high):
        return prefix, -1, -2
    return prefix, int(low), int(high)


def _same_shape(prefix: str, message_ids: list[str]) -> bool:
    """Tell whether ids between two of `prefix` + number in text order have one length and else only digits."""
    if len(set(map(len, message_ids))) != 1:
        return False
    letters = "".join(message_ids).encode().translate(None, _DIGITS)
    return len(letters) == len(prefix.encode().translate(None, _DIGITS)) * len(message_ids)
