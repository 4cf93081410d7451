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
    Call,
    EnvironmentLost,
    FaultFailed,
    FaultFired,
    Flag,
    LogLine,
    LogsCut,
    Message,
    ProgramExited,
    ProgramStarted,
    Ready,
    RunEnded,
    RunStarted,
)
from chaoskit.report.clean import clean
from chaoskit.report.html.lanes import Node, lane, order
from chaoskit.report.html.room import within

Row = list[Any]
REDELIVERED, INJECTED, BAD = 1, 2, 4
_TEXT = 500


def timeline(events: Sequence[AnyEvent], words: Sequence[str]) -> dict[str, Any]:
    """Lanes and rows; `words` tells each fault of the plan. `left_out` counts the events that there was no room for."""
    start = events[0] if events else None
    if not isinstance(start, RunStarted):
        return {"lanes": [], "rows": [], "left_out": 0, "ended": ""}
    nodes = order(events, start.scenario)
    # Times are those of the things themselves, which can come to the journal a little out of order.
    rows = sorted(_Rows(start, {node: i for i, node in enumerate(nodes)}, words).of(events), key=lambda row: row[0])
    kept = within(rows)
    ended = next((e.reason for e in reversed(events) if isinstance(e, RunEnded)), "")
    drawn = [lane(node, start.scenario) for node in nodes]
    return {"lanes": drawn, "rows": kept, "left_out": len(rows) - len(kept), "control": start.control, "ended": ended}


class _Rows:
    def __init__(self, start: RunStarted, lane_of: dict[Node, int], words: Sequence[str]) -> None:
        self._start, self._lane_of, self._words = start, lane_of, words
        verifier = start.scenario.verifier
        self._verdicts = {"FAILURE": re.compile(verifier.failure), "SUCCESS": re.compile(verifier.success)}

    def of(self, events: Sequence[AnyEvent]) -> Iterator[Row]:
        for event in events:
            row = self._row(event)
            if row is not None:
                yield row

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

    def _fault(self, event: FaultFired) -> Row | None:
        steps = self._start.plan.steps
        if event.step >= len(steps):
            return None
        step = steps[event.step]
        text = self._words[event.step] if event.step < len(self._words) else ""
        return self._made(event, "fault", step.target, step.fault, text or event.point, None, event.step, flags=BAD)

    def _note(self, event: AnyEvent) -> Row | None:
        match event:
            case Ready():
                return self._made(event, "note", "", "ready", "every program is up, every consumer consumes")
            case LogsCut():
                text = f"more than {event.after_lines} lines: from here on they are only in its log file"
                return self._made(event, "note", event.program, "logs cut", text)
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
