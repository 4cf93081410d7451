"""Which fault of a report is which event of its journal: a step that recurs has several of both. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from chaoskit.model.events import AnyEvent, FaultFired
from chaoskit.model.verdict import FaultRecord


class Firing(NamedTuple):
    """A fault that happened; `number` is its place in the report, from 0."""

    number: int
    record: FaultRecord
    event: FaultFired


def firings(records: Sequence[FaultRecord], events: Sequence[AnyEvent]) -> list[Firing]:
    """Every fault that fired, in the order of the report, with its event; one whose event is not there is left out."""
    waiting: dict[tuple[str, float | None], list[FaultFired]] = {}
    for event in events:
        if isinstance(event, FaultFired):
            waiting.setdefault((event.point, event.t_s), []).append(event)
    found = []
    for number, record in enumerate(records):
        same = waiting.get((record.trigger, record.t_s), [])
        if record.fired and same:
            found.append(Firing(number, record, same.pop(0)))
    return found
