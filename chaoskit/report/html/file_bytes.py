"""The bytes of the files that faults fell on: as they were at that moment, after the first change later, at the end."""

from collections.abc import Sequence
from typing import Any

from chaoskit.model.events import AnyEvent, FileLater
from chaoskit.model.verdict import FaultRecord
from chaoskit.report.clean import clean
from chaoskit.report.firings import Firing, firings
from chaoskit.report.place import parse

_MOST = 50


def files(events: Sequence[AnyEvent], faults: Sequence[FaultRecord]) -> list[dict[str, Any]]:
    """One entry a fault on a file. Bytes are hexadecimal and begin at `offset`; `torn` counts those of a cut write.

    `fault` is the fault's place in the report.
    """
    later: dict[int, list[FileLater]] = {}
    for event in events:
        if isinstance(event, FileLater):
            later.setdefault(event.step, []).append(event)
    on_files = [firing for firing in firings(faults, events) if firing.event.file_bytes is not None]
    return [_file(firing, later.get(firing.event.step, [])) for firing in on_files[:_MOST]]


def _file(firing: Firing, later: Sequence[FileLater]) -> dict[str, Any]:
    number, record, fault = firing
    tail, size_bytes = fault.tail or b"", fault.file_bytes or 0
    point = parse(fault.point)
    torn = min(fault.written_bytes or 0, len(tail)) if record.when == "inside" else 0
    return {
        "fault": number,
        "path": clean(point.path if point else fault.point),
        "program": clean(record.target),
        "offset": size_bytes - len(tail),
        "moments": [
            {"name": "when it happened", "t_s": fault.t_s, "size": size_bytes, "hex": tail.hex(), "torn": torn},
            *(_moment(e) for e in later),
        ],
    }


def _moment(event: FileLater) -> dict[str, Any]:
    name = "at the end of the run" if event.ended else "after its first change in a later life"
    return {"name": name, "t_s": event.t_s, "size": event.file_bytes, "hex": event.data.hex(), "torn": 0}
