"""Whether the broker is away because it was hurt on purpose: then nobody who misses it has found a problem.

One object is shared by everybody who connects to a broker. It hurts nothing itself.
"""

from __future__ import annotations

from typing import Literal

State = Literal["up", "ending", "away"]


class Outage:
    """`up` until the broker is hurt; `ending` while it stops in order and may still be reached; `away` after that."""

    def __init__(self) -> None:
        self._state: State = "up"
        self._count = 0

    @property
    def count(self) -> int:
        """How many outages there were, the present one included; to be given to `explains` later."""
        return self._count

    @property
    def is_on(self) -> bool:
        """Whether the broker is hurt now, or was and does not answer yet."""
        return self._state != "up"

    @property
    def is_away(self) -> bool:
        """Whether there is no broker that could be reached."""
        return self._state == "away"

    def begin(self, in_order: bool) -> None:
        """The broker is being hurt: `in_order` it may still finish what it has in hand."""
        if not self.is_on:
            self._count += 1
        self._state = "ending" if in_order else "away"

    def end(self) -> None:
        """The broker answers again."""
        self._state = "up"

    def explains(self, count_before: int) -> bool:
        """Whether an attempt that began when there had been `count_before` outages may have failed because of one."""
        return self.is_on or self._count != count_before
