"""Triggers: when a fault happens. One class a trigger, one table (`KINDS`) from the keys of a plan to the class.

A trigger is exact (a system call, a log line, a message) or timed (once, or again and again). To add one: write its
class with `KEYS`, `parse` and `dump`, add it to `KINDS`, and teach the engine's `arming` which place watches for it.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

When = Literal["before", "inside", "after"]
Offset = int | Literal["first", "middle", "last"]
MessageEvent = Literal["published", "delivered", "acked"]

# `change` stands for any of the operations on files.
OPERATIONS = ("write", "fsync", "rename", "unlink", "truncate", "create", "mkdir", "send", "change")


class TriggerError(ValueError):
    """A trigger that makes no sense; `field` is the key of the plan that is wrong."""

    def __init__(self, problem: str, field: str = "") -> None:
        super().__init__(problem)
        self.field = field


class AtCall(msgspec.Struct, frozen=True, tag="call"):
    """At the `nth` system call `op` on a path that matches the glob `path`, in one life of the target.

    `when` is before, after or inside; inside a write, `byte` bytes (or first, middle, last: 1, n//2, n-1) are
    really written. `life` None means the first life in which the point occurs.
    """

    KEYS: ClassVar = OPERATIONS
    summary: ClassVar[str] = "a system call: before, after, or inside a write"
    example: ClassVar[str] = "{write: 'metadata/CLI1.csv', nth: 2, byte: 7}"
    exact: ClassVar[bool] = True

    op: str
    path: str
    nth: int = 1
    when: When = "before"
    byte: Offset | None = None
    life: int | None = None

    @classmethod
    def parse(cls, at: Mapping[str, Any], target: str) -> "AtCall":
        op = _only_key(at, cls.KEYS)
        _no_others(at, (op, "nth", "when", "byte", "life"))
        byte = at.get("byte")
        when = at.get("when", "before" if byte is None else "inside")
        if when not in ("before", "inside", "after"):
            raise TriggerError(f"{when!r} is not before, inside or after", "when")
        if (when == "inside") != (byte is not None):
            raise TriggerError("`byte` and `when: inside` go together", "byte" if byte is not None else "when")
        if byte is not None:
            _check_byte(byte, op)
        life = at.get("life")
        if life is not None:
            _number(life, "life", least=0)
        return cls(op, _text(at[op], op), _number(at.get("nth", 1), "nth"), when, byte, life)

    def dump(self, target: str) -> dict[str, Any]:
        at: dict[str, Any] = {self.op: self.path, "nth": self.nth}
        if self.when == "inside":
            at["byte"] = self.byte
        else:
            at["when"] = self.when
        return at if self.life is None else {**at, "life": self.life}

    def __str__(self) -> str:
        where = f"{self.when} {self.op}:{self.path}#{self.nth}"
        byte = "" if self.byte is None else f"@{self.byte}"
        return where + byte + ("" if self.life is None else f" of life {self.life}")


def _check_byte(byte: Any, op: str) -> None:
    if op != "write":
        raise TriggerError(f"only a write can be torn, not a {op}", "byte")
    if byte not in ("first", "middle", "last"):
        _number(byte, "byte", least=0)


class AtLog(msgspec.Struct, frozen=True, tag="log"):
    """At the `nth` line of the target's output in which the regular expression `pattern` is found."""

    KEYS: ClassVar = ("log",)
    summary: ClassVar[str] = "a line of the target's output (a regular expression)"
    example: ClassVar[str] = "{log: 'Processing chunk 2 for client CLI1'}"
    exact: ClassVar[bool] = True

    pattern: str
    nth: int = 1

    @classmethod
    def parse(cls, at: Mapping[str, Any], target: str) -> "AtLog":
        _no_others(at, ("log", "nth"))
        try:
            re.compile(pattern := _text(at["log"], "log"))
        except re.error as e:
            raise TriggerError(f"not a regular expression: {e}", "log") from None
        return cls(pattern, _number(at.get("nth", 1), "nth"))

    def dump(self, target: str) -> dict[str, Any]:
        return {"log": self.pattern, "nth": self.nth}

    def __str__(self) -> str:
        return f"log line #{self.nth} matching {self.pattern!r}"


class AtMessage(msgspec.Struct, frozen=True, tag="message"):
    """At the `nth` message published to, delivered from, or acknowledged to `queue`, over the whole run.

    `{message: 2}` is short for the second message published to the queue that is the step's target.
    """

    KEYS: ClassVar = ("message", "published", "delivered", "acked")
    summary: ClassVar[str] = "a message published to, delivered from, or acknowledged to a queue"
    example: ClassVar[str] = "{delivered: queue-1-2, nth: 3}"
    exact: ClassVar[bool] = True

    event: MessageEvent
    queue: str
    nth: int = 1

    @classmethod
    def parse(cls, at: Mapping[str, Any], target: str) -> "AtMessage":
        key = _only_key(at, cls.KEYS)
        if key == "message":
            _no_others(at, ("message",))
            return cls("published", target, _number(at["message"], "message"))
        _no_others(at, (key, "nth"))
        event: MessageEvent = key  # type: ignore[assignment]
        return cls(event, _text(at[key], key), _number(at.get("nth", 1), "nth"))

    def dump(self, target: str) -> dict[str, Any]:
        if self.event == "published" and self.queue == target:
            return {"message": self.nth}
        return {self.event: self.queue, "nth": self.nth}

    def __str__(self) -> str:
        return f"message #{self.nth} {self.event} ({self.queue})"


class AtTime(msgspec.Struct, frozen=True, tag="time"):
    """`time_s` seconds after the pipeline is ready: the one trigger that is not exact."""

    KEYS: ClassVar = ("time_s",)
    summary: ClassVar[str] = "seconds after the pipeline is ready (timed, not exact)"
    example: ClassVar[str] = "{time_s: 1.5}"
    exact: ClassVar[bool] = False

    time_s: float

    @classmethod
    def parse(cls, at: Mapping[str, Any], target: str) -> "AtTime":
        _no_others(at, ("time_s",))
        time_s = at["time_s"]
        if isinstance(time_s, bool) or not isinstance(time_s, int | float) or not 0 <= time_s < 1e6:
            raise TriggerError(f"{time_s!r} is not a number of seconds", "time_s")
        return cls(float(time_s))

    def dump(self, target: str) -> dict[str, Any]:
        return {"time_s": self.time_s}

    def __str__(self) -> str:
        return f"{self.time_s:g} s after the pipeline is ready"


class AtIntervals(msgspec.Struct, frozen=True, tag="intervals"):
    """Again and again, from ready until every verdict has come, or for `for_s` seconds: timed, not exact.

    Every `every_s` seconds, each time with `probability`; or at random, with gaps of `mean_s` seconds on average that
    are exponentially distributed, as independent failures are. Where the step's target stands for several programs,
    each time one of them is chosen at random, or with `each` one after the other.
    """

    KEYS: ClassVar = ("every", "mean")
    summary: ClassVar[str] = "again and again: every so often, or at random (timed, not exact)"
    example: ClassVar[str] = "{every: 5s, probability: 0.3, for: 30s}"
    exact: ClassVar[bool] = False

    every_s: float | None = None
    mean_s: float | None = None
    probability: float = 1.0
    for_s: float | None = None
    each: bool = False

    @classmethod
    def parse(cls, at: Mapping[str, Any], target: str) -> "AtIntervals":
        key = _only_key(at, cls.KEYS)
        _no_others(at, ("every", "probability", "for", "each") if key == "every" else ("mean", "for", "each"))
        probability, each = at.get("probability", 1.0), at.get("each", False)
        if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0.001 <= probability <= 1:
            raise TriggerError(f"{probability!r} is not a probability from 0.001 to 1", "probability")
        if not isinstance(each, bool):
            raise TriggerError(f"{each!r} is not true or false", "each")
        for_s = parse_duration(at["for"], "for") if "for" in at else None
        gap_s = parse_duration(at[key], key)
        every_s, mean_s = (gap_s, None) if key == "every" else (None, gap_s)
        return cls(every_s, mean_s, float(probability), for_s, each)

    def dump(self, target: str) -> dict[str, Any]:
        at: dict[str, Any] = {}
        if self.every_s is not None:
            at = {"every": _duration(self.every_s), "probability": self.probability}
        elif self.mean_s is not None:
            at = {"mean": _duration(self.mean_s)}
        if self.for_s is not None:
            at["for"] = _duration(self.for_s)
        return {**at, "each": True} if self.each else at

    def __str__(self) -> str:
        if self.every_s is not None:
            text = f"intervals of {self.every_s:g} s"
            text += "" if self.probability == 1 else f" with probability {self.probability:g}"
        else:
            text = f"random moments, {self.mean_s:g} s apart on average"
        text += "" if self.for_s is None else f", for {self.for_s:g} s"
        return text + (", each in turn" if self.each else "")


DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHORTEST_S, _LONGEST_S = 0.01, 1e6


def parse_duration(value: Any, field: str) -> float:
    """Seconds in a duration such as `5s`, `500ms`, `2m`, or in a number of seconds. Raises TriggerError."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _UNITS_S[match[2]]
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise TriggerError(f"{value!r} is not a duration such as 5s, 500ms or 2m (10 ms at least)", field)
    return seconds


def _duration(seconds: float) -> str:
    return f"{seconds!r}s".replace(".0s", "s")


Trigger: TypeAlias = AtCall | AtLog | AtMessage | AtTime | AtIntervals
TriggerKind: TypeAlias = type[AtCall] | type[AtLog] | type[AtMessage] | type[AtTime] | type[AtIntervals]
KINDS: tuple[TriggerKind, ...] = (AtCall, AtLog, AtMessage, AtTime, AtIntervals)


def parse(at: Any, target: str) -> Trigger:
    """The trigger that the mapping `at` of a step on `target` stands for. Raises TriggerError."""
    if not isinstance(at, Mapping):
        raise TriggerError(f"a trigger is a mapping such as {AtCall.example}")
    for kind in KINDS:
        if any(key in at for key in kind.KEYS):
            parser: Callable[[Mapping[str, Any], str], Trigger] = kind.parse
            return parser(at, target)
    known = ", ".join(key for kind in KINDS for key in kind.KEYS)
    raise TriggerError(f"names no trigger (one of {known})")


def _only_key(at: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    given = [key for key in at if key in keys]
    if len(given) > 1:
        raise TriggerError(f"names two triggers at once: {' and '.join(given)}", given[1])
    return given[0]


def _no_others(at: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in at:
        if key not in allowed:
            raise TriggerError(f"is unknown here (known: {', '.join(allowed)})", str(key))


def _number(value: Any, field: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TriggerError(f"{value!r} is not a whole number from {least}", field)
    return value


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise TriggerError(f"{value!r} is not a text", field)
    return value
