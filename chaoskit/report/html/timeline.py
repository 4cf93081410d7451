"""The timeline's data: lanes in the order in which messages flow, and one row an event.

A row is [t_s, kind, lane, what, text, life, nth, size, flags, actor]; `what` is the operation, the kind of message, the
fault or the outcome, and `actor` the lane of the program that a message was seen at. A journal can be far longer than
a page should be: events far from every fault are then left out, and the page says how many.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from chaoskit.model.events import (
    AnyEvent,
    BrokerState,
    Call,
    EnvironmentLost,
    FaultFailed,
    FaultFired,
    Flag,
    LogLine,
    LogsCut,
    Message,
    NetworkState,
    ProgramExited,
    ProgramStarted,
    Ready,
    RunEnded,
    RunStarted,
)
from chaoskit.model.verdict import FaultRecord
from chaoskit.report.clean import clean
from chaoskit.report.firings import firings
from chaoskit.report.html.lanes import Node, lane, order
from chaoskit.report.html.room import within

Row = list[Any]
_Key = tuple[int, float, str]
REDELIVERED, INJECTED, BAD = 1, 2, 4
_TEXT = 500


def timeline(events: Sequence[AnyEvent], faults: Sequence[FaultRecord], words: Sequence[str]) -> dict[str, Any]:
    """Lanes and rows; `words` tells each of the faults. `left_out` counts events that there was no room for."""
    start = events[0] if events else None
    if not isinstance(start, RunStarted):
        return {"lanes": [], "rows": [], "left_out": 0, "ended": ""}
    nodes = order(events, start.scenario)
    told = {_key(f.event): (f.number, f.record.target, words[f.number]) for f in firings(faults, events)}
    made = _Rows(start, {node: i for i, node in enumerate(nodes)}, told).of(events)
    # Times are those of the things themselves, which can come to the journal a little out of order.
    rows = sorted(made, key=lambda row: row[0])
    kept = within(rows)
    ended = next((e.reason for e in reversed(events) if isinstance(e, RunEnded)), "")
    drawn = [lane(node, start.scenario) for node in nodes]
    return {"lanes": drawn, "rows": kept, "left_out": len(rows) - len(kept), "control": start.control, "ended": ended}


def _key(fault: FaultFired) -> _Key:
    return fault.step, fault.t_s, fault.point


class _Rows:
    """Makes the row of each event. `told` has of each fault its number, its target, and what happened, in words."""

    def __init__(self, start: RunStarted, lane_of: dict[Node, int], told: dict[_Key, tuple[int, str, str]]) -> None:
        self._start, self._lane_of, self._told = start, lane_of, told
        verifier = start.scenario.verifier
        patterns = {} if verifier.exit_code else {"FAILURE": verifier.failure, "SUCCESS": verifier.success}
        self._verdicts = {outcome: re.compile(pattern) for outcome, pattern in patterns.items()}

    def of(self, events: Sequence[AnyEvent]) -> Iterator[Row]:
        for event in events:
            row = self._row(event)
            if row is not None:
                yield row
            if isinstance(event, ProgramExited) and self._judges(event):
                yield self._judged(event)

    def _row(self, event: AnyEvent) -> Row | None:
        match event:
            case LogLine():
                return self._log(event)
            case Call():
                bad = BAD if event.result < 0 else 0
                return self._made(
                    event, "call", event.program, event.op, event.path, event.life, event.nth, event.size, bad
                )
            case Message():
                flags = REDELIVERED * event.redelivered | INJECTED * event.injected
                row = self._made(
                    event, "message", event.queue, event.kind, event.id, None, event.nth, event.size, flags
                )
                return [*row, self._program(event.program)]
            case FaultFired():
                return self._fault(event)
            case ProgramStarted():
                return self._made(event, "start", event.program, "", f"process {event.pid}", event.life)
            case ProgramExited():
                flags = BAD if event.hurt or (event.code != 0 and not event.stopping) else 0
                return self._made(
                    event, "exit", event.program, _how(event), f"code {event.code}", event.life, flags=flags
                )
        return self._note(event)

    def _made(
        self,
        event: AnyEvent,
        kind: str,
        lane: str,
        what: str = "",
        text: str = "",
        life: int | None = None,
        nth: int = 0,
        size: int = 0,
        flags: int = 0,
    ) -> Row:
        t_s = round(event.t_s, 6)
        place = self._lane_of.get(("queue", lane)) if kind == "message" else self._program(lane)
        return [t_s, kind, place, clean(what, 60), clean(text, _TEXT), life, nth, size, flags]

    def _program(self, name: str) -> int | None:
        """The lane of a program, or of a queue that is a fault's target."""
        return self._lane_of.get(("program", name), self._lane_of.get(("queue", name)))

    def _log(self, event: LogLine) -> Row:
        outcome = ""
        if event.program == self._start.scenario.verifier.program:
            outcome = next((name for name, line in self._verdicts.items() if line.search(event.text)), "")
        kind = "verdict" if outcome else "log"
        flags = BAD if outcome == "FAILURE" else 0
        return self._made(event, kind, event.program, outcome, event.text, event.life, flags=flags)

    def _judges(self, event: ProgramExited) -> bool:
        """Whether a program's end is a verdict: that of a verifier which judges by its exit code."""
        verifier = self._start.scenario.verifier
        return verifier.exit_code and event.program == verifier.program and not event.hurt and not event.stopping

    def _judged(self, event: ProgramExited) -> Row:
        outcome = "FAILURE" if event.code else "SUCCESS"
        text = f"{outcome}: the verifier ended with code {event.code}"
        return self._made(event, "verdict", event.program, outcome, text, event.life, flags=BAD if event.code else 0)

    def _fault(self, event: FaultFired) -> Row | None:
        steps = self._start.plan.steps
        step = steps[event.step] if event.step < len(steps) else None
        number, target, text = self._told.get(_key(event), (event.step, step.target if step else "", ""))
        what = step.fault if step else "fault"
        return self._made(event, "fault", target, what, text or event.point, None, number, flags=BAD)

    def _note(self, event: AnyEvent) -> Row | None:
        match event:
            case Ready():
                return self._made(event, "note", "", "ready", "every program is up, every consumer consumes")
            case LogsCut():
                text = f"more than {event.after_lines} lines: from here on they are only in its log file"
                return self._made(event, "note", event.program, "logs cut", text)
            case BrokerState():
                held = ", ".join(f"{queue} {n}" for queue, n in event.queues.items())
                text = f"the broker {'answers again' if event.up else 'is down'}{f'; queues: {held}' if held else ''}"
                return self._made(event, "note", "", "broker", text, flags=0 if event.up else BAD)
            case NetworkState():
                text = "it has its network again" if event.up else "it has no network"
                return self._made(event, "note", event.program, "network", text, flags=0 if event.up else BAD)
            case Flag():
                return self._made(event, "note", event.program, "blind spot", event.reason)
            case FaultFailed():
                return self._made(event, "note", "", "fault failed", event.reason, flags=BAD)
            case EnvironmentLost():
                return self._made(event, "note", "", "lost", f"{event.what}: {event.reason}", flags=BAD)
            case RunEnded():
                waited = f", waited {event.waited_s:.1f} s for {event.waited_for}" if event.waited_for else ""
                return self._made(event, "note", "", "end of the run", f"{event.reason}{waited}")
        return None


def _how(event: ProgramExited) -> str:
    if event.hurt:
        return "was killed"
    return "was stopped" if event.stopping else "ended by itself"
