"""What the supervisor does with a watched call: an Operation that it can perform, wholly or in part, and answer."""

from typing import Protocol

from chaoskit.tap.kernel import Listener
from chaoskit.tap.shadow import Shadow


class Vanished(Exception):
    """The held call is gone (its thread died), so what was read of it must not be used."""


class Operation(Protocol):
    """One held call that changes something: its name (`op`, `path`), its size, and how to perform it.

    `perform` lets at most `limit` bytes through (operations that have no bytes ignore it), returns what the call
    returns and raises OSError as the call would. `answer` hands a result to the program (OSError: the call fails
    after all); `record` tells a Shadow what was done, `record_failure` that a rule made it fail; `release` gives
    descriptors back. `faithful` is False where only the kernel can perform the call: then
    it is let go and counted.
    """

    op: str
    path: str
    size: int
    faithful: bool

    def perform(self, limit: int) -> int: ...

    def answer(self, listener: Listener, result: int) -> None: ...

    def record(self, shadow: Shadow, result: int) -> None: ...

    def record_failure(self, shadow: Shadow) -> None: ...

    def release(self) -> None: ...


class Basic:
    """The part that most operations share."""

    op = "write"
    faithful = True
    size = 0

    def __init__(self, path: str) -> None:
        self.path = path

    def answer(self, listener: Listener, result: int) -> None:
        """The result is a plain number. That nobody waits for it any more does not undo the call."""
        listener.answer(result)

    def record(self, shadow: Shadow, result: int) -> None:
        """Nothing on disk has changed."""

    def record_failure(self, shadow: Shadow) -> None:
        """A call that did not happen changes nothing."""

    def release(self) -> None:
        """Nothing is held."""
