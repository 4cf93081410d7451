"""Which experiments an exploration consists of: one plan for each crash point, position and fault. Pure.

`survey` turns the journal of a run into places where something can be done; `at_place` turns a place into
experiments. A place found in a later life comes with the steps that led there, so its experiments repeat them.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from chaoskit.model.events import AnyEvent, Call, FaultFired, Message, ProgramExited, ProgramStarted
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Scalar
from chaoskit.model.triggers import AtCall, AtMessage

FAULTS = ("kill", "power-loss", "enospc", "eio", "eintr", "short-write")
DEFAULT_FAULTS = ("kill", "power-loss", "short-write")
_ERRNO_OPERATIONS = {
    "enospc": ("write", "create", "mkdir"),
    "eio": ("write", "fsync", "rename", "unlink", "truncate", "create", "mkdir"),
    "eintr": ("write", "fsync", "create"),
}
# Long enough for a worker to meet the fault again after it backed off, short enough for thousands of experiments.
_HEALED_AFTER_S = 0.3


class Place(msgspec.Struct, frozen=True):
    """A call of the target at which something can be done. `deliveries`: how many messages it had been given before.

    `states` are the power-loss states after this call that differ from each other and from a plain kill.
    """

    program: str
    life: int
    op: str
    path: str
    nth: int
    size: int
    deliveries: tuple[str, int] | None = None
    states: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What names the place whatever the life."""
        return self.program, self.op, self.path, self.nth

    @property
    def name(self) -> str:
        return f"{self.program}/{self.life}/{self.op}:{self.path}#{self.nth}"


class Experiment(msgspec.Struct, frozen=True):
    """One run to be made, at the call `place` as its last fault. `id` names the whole experiment for good."""

    id: str
    plan: Plan
    fault: str
    op: str
    path: str
    place: str
    point: str
    depth: int = 1


def no_crash_point(targets: Sequence[str]) -> str:
    """What to say where a control run shows nothing of the targets that could be hurt, and what to change."""
    return (
        f"{', '.join(targets)} made no crash point in the control run: no file changed in the data directory and no "
        "message came or went. Programs find the directory in WORKER_DATA_DIR, or as {data} in `command`; else name "
        "another `target`"
    )


def survey(events: Sequence[AnyEvent], targets: Sequence[str], total: dict[str, int] | None = None) -> list[Place]:
    """The places of a run, in order. `total` overrides how many deliveries of a queue there are in all."""
    delivered: dict[str, tuple[str, int]] = {}
    places = []
    totals = total if total is not None else _deliveries(events)
    for event in events:
        if isinstance(event, Message) and event.kind == "delivered" and event.program in targets:
            delivered[event.program] = (event.queue, event.nth)
        elif isinstance(event, Call) and event.program in targets:
            last = delivered.get(event.program)
            later = last if last and last[1] < totals.get(last[0], 0) else None
            places.append(
                Place(
                    event.program, event.life, event.op, event.path, event.nth, event.size, later, tuple(event.states)
                )
            )
    return places


def _deliveries(events: Iterable[AnyEvent]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for event in events:
        if isinstance(event, Message) and event.kind == "delivered":
            counts[event.queue] = max(counts.get(event.queue, 0), event.nth)
    return counts


def recovery(events: Sequence[AnyEvent], targets: Sequence[str]) -> list[Place]:
    """The places of the first life after the last fault, up to its first acknowledgement: the recovery."""
    start = _last_restart(events, targets)
    if start is None:
        return []
    recovering = _started(events[start])
    part: list[AnyEvent] = []
    delivered = False
    for event in events[start:]:
        if isinstance(event, Message) and event.program == recovering:
            delivered = delivered or event.kind == "delivered"
            # An acknowledgement before the first delivery is the last word of the life before, still on its way.
            if event.kind == "acked" and delivered:
                break
        if isinstance(event, ProgramExited) and event.program == recovering:
            break
        part.append(event)
    return survey(part, (recovering,), {})


def _last_restart(events: Sequence[AnyEvent], targets: Sequence[str]) -> int | None:
    """The index of the first start of a target after the last fault that fired."""
    last_fault = max((i for i, e in enumerate(events) if isinstance(e, FaultFired)), default=None)
    if last_fault is None:
        return None
    starts = (
        i
        for i, e in enumerate(events)
        if i > last_fault and isinstance(e, ProgramStarted) and e.program in targets and e.life > 0
    )
    return next(starts, None)


def _started(event: AnyEvent) -> str:
    return event.program if isinstance(event, ProgramStarted) else ""


def at_place(place: Place, faults: Sequence[str], prior: Sequence[Step] = (), depth: int = 1) -> Iterator[Experiment]:
    """Every experiment at one place, for these faults, each repeating the `prior` steps."""
    for fault in faults:
        for position, steps in _variants(place, fault):
            ident = " + ".join(map(str, (*prior, *steps)))
            plan = Plan(0, (*prior, *steps), drawn=True)
            point = f"{fault} {position} {place.name}"
            yield Experiment(ident, plan, fault, place.op, place.path, place.name, point, depth)


def _variants(place: Place, fault: str) -> Iterator[tuple[str, tuple[Step, ...]]]:
    if fault == "kill":
        yield from _kills(place)
    elif fault == "power-loss":
        for state in place.states:
            at = AtCall(place.op, place.path, place.nth, "after", None, place.life)
            yield f"after, {state} kept,", (Step("power-loss", place.program, at, {"state": state}),)
    elif fault == "short-write":
        for byte in _offsets(place):
            at = AtCall(place.op, place.path, place.nth, "inside", byte, place.life)
            yield f"of {byte} bytes at", (Step("short-write", place.program, at), *_later_kill(place))
    elif place.op in _ERRNO_OPERATIONS[fault]:
        yield from _errnos(place, fault)


def _kills(place: Place) -> Iterator[tuple[str, tuple[Step, ...]]]:
    at = AtCall(place.op, place.path, place.nth, "before", None, place.life)
    yield "before", (Step("kill", place.program, at),)
    for byte in _offsets(place):
        torn = msgspec.structs.replace(at, when="inside", byte=byte)
        yield f"inside at byte {byte} of", (Step("kill", place.program, torn),)
    yield "after", (Step("kill", place.program, msgspec.structs.replace(at, when="after")),)


def _offsets(place: Place) -> list[int]:
    """First byte, middle, last byte but one of a write: how many bytes are let through."""
    n = place.size
    return sorted({1, n // 2, n - 1} - {0, n}) if place.op == "write" and n > 1 else []


def _errnos(place: Place, fault: str) -> Iterator[tuple[str, tuple[Step, ...]]]:
    at = AtCall(place.op, place.path, place.nth, "before", None, place.life)
    lasting: dict[str, Scalar] = {"for_s": _HEALED_AFTER_S}
    yield "at", (Step(fault, place.program, at), *_later_kill(place))
    yield "until healed, from", (Step(fault, place.program, at, lasting), *_later_kill(place))


def _later_kill(place: Place) -> tuple[Step, ...]:
    """A kill at the next delivery: memory hides what a fault did to a file, until the memory is gone."""
    if place.deliveries is None:
        return ()
    queue, nth = place.deliveries
    return (Step("kill", place.program, AtMessage("delivered", queue, nth + 1)),)


def doubled(events: Sequence[AnyEvent], targets: Sequence[str], late: bool) -> tuple[Step, ...]:
    """Steps that double every message published to a queue that a target consumes from."""
    queues = {e.queue for e in events if isinstance(e, Message) and e.kind == "delivered" and e.program in targets}
    options: dict[str, Scalar] = {"late": True} if late else {}
    return tuple(
        Step("duplicate", e.queue, AtMessage("published", e.queue, e.nth), options)
        for e in events
        if isinstance(e, Message) and e.kind == "published" and e.queue in queues and not e.injected
    )
