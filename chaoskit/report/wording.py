"""Faults in words: `worker-2 was killed after the last row was written and before the result was sent`. Pure.

One line a fault says how it is told; a fault without one is told by its name, so that a new one needs nothing here.
"""

from collections.abc import Sequence
from typing import NamedTuple

from chaoskit.model.events import AnyEvent
from chaoskit.model.verdict import FaultRecord
from chaoskit.report.acts import Namer, namer
from chaoskit.report.clean import clean
from chaoskit.report.firings import Firing, firings
from chaoskit.report.lives import Lives
from chaoskit.report.place import Surroundings, around

# {target}: a program or a queue; {where}: the place with a blank before it; {call}: the call; {bytes}: how much of it.
_TOLD = {
    "kill": "{target} was killed{where}",
    "power-loss": "the power of {target} was cut{where}",
    "stop": "{target} was stopped{where}",
    "pause": "{target} was paused{where}",
    "disconnect": "{target} lost its network for a while{where}",
    "broker-kill": "the broker was killed{where}",
    "broker-restart": "the broker was restarted{where}",
    "cut": "the connection of {target} to the broker was cut{where}",
    "enospc": "{target} was told that the disk is full at {call}",
    "eio": "{target} was told of an I/O error at {call}",
    "eintr": "{target} was interrupted at {call}",
    "short-write": "only {bytes} of {call} were written by {target}",
    "duplicate": "{message} of {target} was sent twice",
    "delay": "{message} of {target} was held back",
    "drop": "{message} of {target} was lost on its way",
}
_OTHERWISE = "{fault} was done to {target}{where}"
_MANY = {"kill": "{target} was killed {n} times", "power-loss": "the power of {target} was cut {n} times"}


class Told(NamedTuple):
    """One fault that fired: its place in the report from 0, its record, what happened, and where.

    `where` is the place by itself, with a blank before it, or ''.
    """

    number: int
    record: FaultRecord
    text: str
    where: str


def tell(
    records: Sequence[FaultRecord], events: Sequence[AnyEvent], control: Sequence[AnyEvent], about: str = ""
) -> list[Told]:
    """Every fault of a run that fired, in words. `about` is the id whose result is simply `the result`."""
    names = namer(events, control)._replace(about=about)
    run, planned = Lives(events), Lives(control)
    return [_told(firing, run, planned, names) for firing in firings(records, events)]


def _told(firing: Firing, run: Lives, planned: Lives, names: Namer) -> Told:
    number, record, fault = firing
    power = record.fault == "power-loss"
    surroundings = around(fault, record.target, record.when, run, planned, names, fsyncs=power)
    where = _where(record, surroundings)
    text = _TOLD.get(record.fault, _OTHERWISE).format(
        fault=clean(record.fault, 60),
        target=clean(record.target, 60),
        where=where,
        call=surroundings.call or clean(record.trigger, 120),
        bytes=_bytes(record, surroundings),
        message=clean(fault.detail, 80) or "a message",
    )
    return Told(number, record, text, where)


def _bytes(record: FaultRecord, surroundings: Surroundings) -> str:
    written = 0 if record.written_bytes is None else record.written_bytes
    return f"{written} of {surroundings.size_bytes} bytes" if surroundings.size_bytes else f"{written} bytes"


def _where(record: FaultRecord, place: Surroundings) -> str:
    """The place with a blank before it; as the trigger has it where nothing better is known."""
    if record.when == "inside":
        return f" in the middle of {place.call}, after {_bytes(record, place)}"
    parts = [f"after {place.after}" if place.after else "", f"before {place.before}" if place.before else ""]
    words = " and ".join(part for part in parts if part)
    if place.recovering:
        return f" while it recovered{f', {words}' if words else ''}"
    return f" {words}" if words else f" at {clean(record.trigger, 120)}"


def all_of(told: Sequence[Told], best: Told | None = None) -> str:
    """Several faults in one clause; `best` is the one whose place is told."""
    if len(told) == 1:
        return told[0].text
    kinds = {(t.record.fault, t.record.target) for t in told}
    (fault, target), n = next(iter(kinds)), len(told)
    if len(kinds) == 1 and fault in _MANY:
        many = _MANY[fault].format(target=clean(target, 60), n=n)
        return f"{many}, once{best.where}" if best and best.where else many
    return f"{n} faults were done, one of them: {best.text}" if best else f"{n} faults were done"
