"""Where a program was when a fault fell on it, in words: after which of its acts, and before which. Pure.

What a program did comes from the run's own journal; what it would have done next comes from the control run, where the
same call stands in a life that went on. In a recovery there is no such call, and then only the past is told. It does
not say why a program did something.
"""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from chaoskit.model.events import AnyEvent, Call, FaultFired, Message, ProgramExited, ProgramStarted
from chaoskit.report.acts import Namer

_POINT = re.compile(r"([^/]+)/(\d+)/([a-z]+):(.*)#(\d+)(?:@\d+)?", re.DOTALL)
_SENT = ("published", "acked", "nacked", "rejected")


class Point(NamedTuple):
    """The name of a system call in one life of a program, as journals have it."""

    program: str
    life: int
    op: str
    path: str
    nth: int


class Act(NamedTuple):
    """Something that a program did and others can see. `at` is the number of its call within the life."""

    at: int
    event: Call | Message


class Life(NamedTuple):
    """One life of a program: what it did, in order, and the number of each of its calls."""

    acts: list[Act]
    calls: dict[Point, int]

    def until(self, index: int) -> Act | None:
        """The last act at or before a call."""
        return next((act for act in reversed(self.acts) if act.at <= index), None)

    def from_(self, index: int) -> Act | None:
        """The first act at or after a call. What was delivered is nothing that the program did."""
        mine = (act for act in self.acts if not (isinstance(act.event, Message) and act.event.kind == "delivered"))
        return next((act for act in mine if act.at >= index), None)


class Surroundings(NamedTuple):
    """The acts around a moment in words, '' where they are not known.

    `call` is the one that the fault fell on, of `size_bytes`. `recovering`: it fell in a later life, before that life
    had been given its first message.
    """

    after: str
    before: str
    call: str = ""
    size_bytes: int = 0
    recovering: bool = False


def parse(point: str) -> Point | None:
    """The call that a point names; None for a point at a message, a log line or a time."""
    found = _POINT.fullmatch(point)
    if found is None or found[3] == "log":
        return None
    return Point(found[1], int(found[2]), found[3], found[4], int(found[5]))


def life_of(events: Sequence[AnyEvent], program: str, life: int, fsyncs: bool) -> Life:
    """What a program did in one life. With `fsyncs`, flushing to disk is an act: a power loss can tell, a kill cannot.

    A message counts at the last send before it: that one made it whole.
    """
    acts: list[Act] = []
    calls: dict[Point, int] = {}
    last_send = 0
    for event in _own(events, program, life):
        if isinstance(event, Message):
            acts.append(Act(last_send if event.kind in _SENT else len(calls) - 1, event))
            continue
        index = calls.setdefault(Point(program, life, event.op, event.path, event.nth), len(calls))
        if event.op == "send":
            last_send = index
        elif fsyncs or event.op != "fsync":
            acts.append(Act(index, event))
    acts.sort(key=lambda act: act.at)
    return Life(acts, calls)


def _own(events: Sequence[AnyEvent], program: str, life: int) -> list[Call | Message]:
    """Calls and messages of one life. A message names no life: it belongs to the one that is running."""
    own: list[Call | Message] = []
    running = -1
    for event in events:
        if isinstance(event, ProgramStarted) and event.program == program:
            running = event.life
        elif isinstance(event, Call | Message) and _is_of(event, program, life, running):
            own.append(event)
    return own


def _is_of(event: Call | Message, program: str, life: int, running: int) -> bool:
    if isinstance(event, Call):
        return (event.program, event.life) == (program, life)
    return (event.program, running) == (program, life) and not event.injected and event.kind in (*_SENT, "delivered")


def around(
    fault: FaultFired,
    program: str,
    when: str,
    events: Sequence[AnyEvent],
    control: Sequence[AnyEvent],
    namer: Namer,
    fsyncs: bool = False,
) -> Surroundings:
    """What `program` had done when the fault fell on it, and what it would have done next.

    `when` is before, inside or after for a fault at a call, and '' for any other.
    """
    point = parse(fault.point)
    number = point.life if point else _life_at(events, fault, program)
    # What was on its way to a program that dies was never read.
    seen = [e for i, e in enumerate(events) if i < _index(events, fault) or not _is_delivery(e)]
    life = life_of(list(takewhile(lambda e: not _ends(e, program, number), seen)), program, number, fsyncs)
    planned = life_of(control, program, 0, fsyncs) if number == 0 else Life([], {})
    namer = namer.knowing([act.event for act in planned.acts])
    recovering = number > 0 and not any(_is_delivery(act.event) for act in life.acts)
    if point is None:
        return _after_the_last(life, planned, namer)._replace(recovering=recovering)
    return _at_call(point, when, life, planned, namer, fsyncs)._replace(
        call=namer.call(point.op, point.path, point.nth),
        size_bytes=_size_bytes(point, control),
        recovering=recovering,
    )


def _at_call(point: Point, when: str, life: Life, planned: Life, namer: Namer, fsyncs: bool) -> Surroundings:
    """A fault before or after a call; the call itself is an act where a kill, or a power loss, can tell."""
    here, there = life.calls.get(point, len(life.calls)), planned.calls.get(point)
    past = life.until(here if when == "after" else here - 1)
    following = None if there is None else planned.from_(there + (when == "after"))
    after = namer.of(past.event) if past else ""
    before = namer.of(following.event) if following else ""
    tells = point.op != "send" and (fsyncs or point.op != "fsync")
    if when == "before" and not before and tells:
        before = namer.of_call(point.op, point.path, point.nth)
    if when == "after" and tells:
        after = namer.of_call(point.op, point.path, point.nth)
    return Surroundings(after, before)


def _size_bytes(point: Point, control: Sequence[AnyEvent]) -> int:
    """How many bytes the call asks for, as the control run shows; 0 where it does not."""
    same = (e for e in control if isinstance(e, Call) and point == (e.program, e.life, e.op, e.path, e.nth))
    return next((e.size for e in same), 0)


def _after_the_last(life: Life, planned: Life, namer: Namer) -> Surroundings:
    """A fault at no call: it fell after the last one of its life."""
    last = max(life.calls, key=life.calls.__getitem__, default=None)
    past = life.until(len(life.calls))
    there = planned.calls.get(last) if last else None
    following = planned.from_(there + 1) if there is not None else None
    return Surroundings(namer.of(past.event) if past else "", namer.of(following.event) if following else "")


def _index(events: Sequence[AnyEvent], fault: FaultFired) -> int:
    return next(i for i, e in enumerate(events) if e is fault)


def _is_delivery(event: AnyEvent) -> bool:
    return isinstance(event, Message) and event.kind == "delivered"


def _ends(event: AnyEvent, program: str, life: int) -> bool:
    return isinstance(event, ProgramExited) and event.program == program and event.life == life


def _life_at(events: Sequence[AnyEvent], fault: FaultFired, program: str) -> int:
    started = [
        e.life for e in events[: _index(events, fault)] if isinstance(e, ProgramStarted) and e.program == program
    ]
    return started[-1] if started else 0
