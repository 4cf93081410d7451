"""Where a program was when a fault fell on it, in words: after which of its acts, and before which. Pure.

What a program did comes from the run's own journal; what it would have done next comes from the control run, where the
same call stands in a life that went on. In a recovery there is no such call, and then only the past is told. It does
not say why a program did something.
"""

import re
from typing import NamedTuple

from chaoskit.model.events import Call, FaultFired, Message
from chaoskit.report.acts import Namer
from chaoskit.report.lives import Life, Lives, Point

_POINT = re.compile(r"([^/]+)/(\d{1,9})/([a-z]+):(.*)#(\d{1,9})(?:@\d+)?", re.DOTALL)


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


def around(
    fault: FaultFired, program: str, when: str, run: Lives, control: Lives, namer: Namer, fsyncs: bool = False
) -> Surroundings:
    """What `program` had done when the fault fell on it, and what it would have done next.

    `when` is before, inside or after for a fault at a call, and '' for any other. With `fsyncs`, flushing to disk is
    an act: a power loss can tell, a kill cannot.
    """
    point = parse(fault.point)
    at = run.index_of(fault)
    number = point.life if point else run.running(program, at)
    # What was on its way to a program that dies was never read.
    life = run.life(program, number, fsyncs, deliveries_until=at)
    planned = control.life(program, 0, fsyncs) if number == 0 else Life([], {})
    namer = namer.knowing(planned.last_writes)
    recovering = number > 0 and not life.was_given_a_message()
    if point is None:
        return _after_the_last(life, planned, namer)._replace(recovering=recovering)
    return _at_call(point, when, life, planned, namer, fsyncs)._replace(
        call=namer.call(point.op, point.path, point.nth),
        size_bytes=control.size_bytes(point),
        recovering=recovering,
    )


def _at_call(point: Point, when: str, life: Life, planned: Life, namer: Namer, fsyncs: bool) -> Surroundings:
    """A fault before or after a call; the call itself is an act where a kill, or a power loss, can tell."""
    here, there = life.calls.get(point, len(life.calls)), planned.calls.get(point)
    past = life.until(here if when == "after" else here - 1)
    following = None if there is None else planned.from_(there + (when == "after"))
    after, before = _words(past, namer), _words(following, namer)
    tells = point.op != "send" and (fsyncs or point.op != "fsync")
    if when == "before" and not before and tells:
        before = namer.of_call(point.op, point.path, point.nth)
    if when == "after" and tells:
        after = namer.of_call(point.op, point.path, point.nth)
    return Surroundings(after, before)


def _after_the_last(life: Life, planned: Life, namer: Namer) -> Surroundings:
    """A fault at no call: it fell after the last one of its life."""
    there = planned.calls.get(life.last_call) if life.last_call else None
    following = planned.from_(there + 1) if there is not None else None
    return Surroundings(_words(life.until(len(life.calls)), namer), _words(following, namer))


def _words(event: Call | Message | None, namer: Namer) -> str:
    return "" if event is None else namer.of(event)
