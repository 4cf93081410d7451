"""Rules: which call of a program is hurt, and how. Plain data that travels as JSON, and the counting that arms them.

Counting is by success: a call that fails, or that a rule made fail, does not count, so that names stay the same
with and without a fault.
"""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

OPERATIONS = ("write", "fsync", "rename", "unlink", "truncate", "create", "mkdir", "send", "change")
POSITIONS = ("before", "inside", "after")
ACTIONS = ("kill", "errno", "short", "pause")
_DIVISIBLE = ("write", "send")
_NAMED_BYTES = ("first", "middle", "last")


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault at one place.

    `op` "change" is any operation but a send. `path` is relative to the watched root (the root itself is ".", a send
    has the path "broker"), literally or as a pattern of `fnmatch` (`*` also crosses "/"). `nth` counts, from 1, the
    calls of one life that match operation and path. `byte`, for `inside` and for `short`, is a number of bytes or
    "first", "middle", "last" (1, n // 2, n - 1 of n); a call with fewer bytes than the number is not hurt, unless the
    rule `clamps`: then it is hurt at its end. `life` None means any life. `times` None means this and every later match
    until `Supervisor.heal`.
    Raises ValueError, in one line, when the parts do not fit together.
    """

    id: str
    op: str
    path: str = "*"
    nth: int = 1
    when: str = "before"
    byte: int | str | None = None
    life: int | None = None
    action: str = "kill"
    errno: str | None = None
    times: int | None = 1
    clamps: bool = False

    def __post_init__(self) -> None:
        for complaint in _complaints(self):
            raise ValueError(f"rule {self.id}: {complaint}")

    @property
    def errno_number(self) -> int:
        """The number that the call fails with."""
        return int(getattr(errno, self.errno or "EIO"))

    def fits(self, size: int) -> bool:
        """Whether a call of `size` bytes has the rule's place; one that is to be short has to lose some."""
        if self.clamps or not isinstance(self.byte, int):
            return True
        return self.byte < size if self.action == "short" else self.byte <= size

    def written_bytes(self, size: int) -> int:
        """How many of a call's `size` bytes are let through."""
        if isinstance(self.byte, int):
            return min(self.byte, size)
        return {"first": min(1, size), "last": max(size - 1, 0)}.get(self.byte or "middle", size // 2)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON types; `Rule.from_json` is its inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Rule":
        """Raises ValueError for an unknown field or a value that does not fit."""
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"rule {data.get('id')}: unknown field {min(unknown)}")
        return cls(**data)


def _complaints(rule: Rule) -> Iterable[str]:
    for name, allowed in (("op", OPERATIONS), ("when", POSITIONS), ("action", ACTIONS)):
        if getattr(rule, name) not in allowed:
            yield f"{name} is {getattr(rule, name)!r}, not one of {', '.join(allowed)}"
    if rule.nth < 1 or (rule.times is not None and rule.times < 1):
        yield "nth and times count from 1"
    if (rule.when == "inside" or rule.action == "short") and rule.op not in _DIVISIBLE:
        yield f"{rule.op} has no inside; only {' and '.join(_DIVISIBLE)} have"
    if isinstance(rule.byte, str) and rule.byte not in _NAMED_BYTES:
        yield f"byte is {rule.byte!r}, not a number or one of {', '.join(_NAMED_BYTES)}"
    if isinstance(rule.byte, int) and rule.byte < 0:
        yield "byte is a number of bytes, 0 or more"
    if rule.action == "errno" and not isinstance(getattr(errno, rule.errno or "", None), int):
        yield f"errno is {rule.errno!r}, not the name of an error such as ENOSPC"


class _Armed:
    """A rule in one life: how many successful matches it has seen and how often it fired."""

    __slots__ = ("fired", "rule", "seen")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen = 0
        self.fired = 0

    def due(self) -> bool:
        upcoming = self.seen + 1
        return upcoming == self.rule.nth or (self.rule.times != 1 and upcoming > self.rule.nth)

    def spent(self) -> bool:
        return self.rule.times is not None and self.fired >= self.rule.times


class Arming:
    """The rules of one life. `due` says which one a call meets, `succeeded` counts, `fire` uses a rule up."""

    def __init__(self, rules: Iterable[Rule], life: int) -> None:
        self._armed = [_Armed(rule) for rule in rules]
        self._life = life
        self._by_place: dict[tuple[str, str], list[_Armed]] = {}

    @property
    def rules(self) -> list[Rule]:
        """The rules that have not used up their times."""
        return [armed.rule for armed in self._armed]

    def add(self, rule: Rule) -> None:
        """Arm one more; it counts from now on."""
        self._armed.append(_Armed(rule))
        self._by_place.clear()

    def disarm(self, rule_id: str) -> None:
        """Forget a rule: the fault is healed."""
        self._armed = [armed for armed in self._armed if armed.rule.id != rule_id]
        self._by_place.clear()

    def _at(self, op: str, path: str) -> list[_Armed]:
        place = (op, path)
        found = self._by_place.get(place)
        if found is None:
            found = [armed for armed in self._armed if self._concerns(armed.rule, op, path)]
            self._by_place[place] = found
        return found

    def _concerns(self, rule: Rule, op: str, path: str) -> bool:
        concerned = rule.op == op or (rule.op == "change" and op != "send")
        return concerned and rule.life in (None, self._life) and (rule.path == path or fnmatchcase(path, rule.path))

    def due(self, op: str, path: str, size: int) -> Rule | None:
        """The first rule that the next call at this place, of so many bytes, meets."""
        for armed in self._at(op, path):
            if armed.due() and armed.rule.fits(size):
                return armed.rule
        return None

    def fire(self, rule: Rule) -> None:
        """Count a firing and drop the rule when its times are used up."""
        for armed in self._armed:
            if armed.rule is rule:
                armed.fired += 1
                if armed.spent():
                    self.disarm(rule.id)

    def succeeded(self, op: str, path: str) -> None:
        """Count a call that was performed."""
        for armed in self._at(op, path):
            armed.seen += 1
