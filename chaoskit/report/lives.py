"""What each program did in each of its lives, read from a journal once. Pure.

An act is something that a program did and others can see: a call that changed a file, a message that it sent or
settled. A message names no life: it belongs to the one that is running.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chaoskit.model.events import AnyEvent, Call, FaultFired, Message, ProgramExited, ProgramStarted

_SENT = ("published", "acked", "nacked", "rejected")


class Point(NamedTuple):
    """The name of a system call in one life of a program, as journals have it."""

    program: str
    life: int
    op: str
    path: str
    nth: int


class Act(NamedTuple):
    """`at` is the number of the call within the life that made it; a message counts at the send that made it whole."""

    at: int
    event: Call | Message


class Life:
    """One life of a program: what it did, in order, and the number of each of its calls."""

    def __init__(self, acts: Sequence[Act], calls: Mapping[Point, int]) -> None:
        self.acts = sorted(acts, key=lambda act: act.at)
        self.calls = calls
        self.last_call = max(calls, key=calls.__getitem__, default=None)
        writes = (act.event for act in self.acts if isinstance(act.event, Call) and act.event.op == "write")
        self.last_writes = {call.path: call.nth for call in writes}

    def until(self, at: int) -> Call | Message | None:
        """The last act at or before a call."""
        return next((act.event for act in reversed(self.acts) if act.at <= at), None)

    def from_(self, at: int) -> Call | Message | None:
        """The first act at or after a call. What was delivered is nothing that the program did."""
        return next((act.event for act in self.acts if act.at >= at and not is_delivery(act.event)), None)

    def was_given_a_message(self) -> bool:
        return any(is_delivery(act.event) for act in self.acts)


class Lives:
    """Every life of every program in a journal."""

    def __init__(self, events: Sequence[AnyEvent]) -> None:
        self._own: dict[tuple[str, int], list[tuple[int, Call | Message]]] = {}
        self._started: dict[str, list[tuple[int, int]]] = {}
        self._faults: dict[tuple[int, float, str], int] = {}
        self._sizes: dict[Point, int] = {}
        self._whole: dict[tuple[str, int, bool], Life] = {}
        running: dict[str, int] = {}
        for i, event in enumerate(events):
            self._add(i, event, running)

    def _add(self, i: int, event: AnyEvent, running: dict[str, int]) -> None:
        if isinstance(event, ProgramStarted):
            running[event.program] = event.life
            self._started.setdefault(event.program, []).append((i, event.life))
        elif isinstance(event, ProgramExited):
            running.pop(event.program, None)
        elif isinstance(event, FaultFired):
            self._faults[event.step, event.t_s, event.point] = i
        elif isinstance(event, Call):
            self._own.setdefault((event.program, event.life), []).append((i, event))
            self._sizes.setdefault(Point(event.program, event.life, event.op, event.path, event.nth), event.size)
        elif isinstance(event, Message) and event.program in running and not event.injected:
            self._own.setdefault((event.program, running[event.program]), []).append((i, event))

    def index_of(self, fault: FaultFired) -> int:
        """Where in the journal a fault stands."""
        return self._faults[fault.step, fault.t_s, fault.point]

    def running(self, program: str, at: int) -> int:
        """The life of a program that had begun last at a place in the journal; 0 before its first."""
        return next((life for i, life in reversed(self._started.get(program, [])) if i < at), 0)

    def size_bytes(self, point: Point) -> int:
        """How many bytes a call asked for; 0 where it is not known."""
        return self._sizes.get(point, 0)

    def life(self, program: str, life: int, fsyncs: bool, deliveries_until: int | None = None) -> Life:
        """One life; with `fsyncs`, flushing to disk is an act. Of deliveries only those before a place count."""
        if deliveries_until is not None:
            return self._made(program, life, fsyncs, deliveries_until)
        key = program, life, fsyncs
        if key not in self._whole:
            self._whole[key] = self._made(program, life, fsyncs, None)
        return self._whole[key]

    def _made(self, program: str, life: int, fsyncs: bool, deliveries_until: int | None) -> Life:
        acts: list[Act] = []
        calls: dict[Point, int] = {}
        last_send = 0
        for i, event in self._own.get((program, life), ()):
            if isinstance(event, Call):
                at = calls.setdefault(Point(program, life, event.op, event.path, event.nth), len(calls))
                if event.op == "send":
                    last_send = at
                elif fsyncs or event.op != "fsync":
                    acts.append(Act(at, event))
            elif event.kind in _SENT:
                acts.append(Act(last_send, event))
            elif is_delivery(event) and (deliveries_until is None or i < deliveries_until):
                acts.append(Act(len(calls) - 1, event))
        return Life(acts, calls)


def is_delivery(event: Call | Message) -> bool:
    """Whether a message was given to the program."""
    return isinstance(event, Message) and event.kind == "delivered"
