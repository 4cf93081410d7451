"""What the engine makes of an agent's words about files that faults fell on."""

import base64
from types import SimpleNamespace
from typing import Any

from chaoskit.engine.remote import RemoteTaps
from chaoskit.model.events import AnyEvent, FileLater
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall
from chaoskit.tap import Call, Fired, Report


def _taps(told: list[AnyEvent]) -> RemoteTaps:
    """Of a run with two kills, one in each of the first two lives."""
    steps = [Step("kill", "w", AtCall("write", "a.csv", life=life)) for life in range(2)]
    pipeline: Any = SimpleNamespace(
        scenario=SimpleNamespace(programs={}, data_name=str), emit=told.append, now_s=lambda *at: 1.5, stopping=False
    )
    executor: Any = SimpleNamespace(
        outstanding={0, 1},
        plan=SimpleNamespace(steps=steps),
        call_steps=lambda: list(enumerate(steps)),
        call_fired=lambda index, fault: None,
    )
    link: Any = SimpleNamespace(local_s=lambda there_s: there_s)
    return RemoteTaps(pipeline, executor, link, {}, ["w"])


def _kill(life: int, size: int) -> Report:
    fired = Fired(str(life), f"w/{life}/write:a.csv#1", "kill", "before", None, 1.0)
    return Report("w", life, fired, file_bytes=size, tail=b"x" * 256)


def _found(offset: int, data: bytes) -> dict[str, Any]:
    return {"offset": offset, "file_bytes": 900, "data": base64.b64encode(data).decode()}


def test_each_of_two_kills_in_a_file_is_shown_its_own_part_of_it() -> None:
    told: list[AnyEvent] = []
    taps = _taps(told)
    for life, size in enumerate([400, 800]):
        taps.hear({"later": [], "report": _kill(life, size).to_json()})
    call = Report("w", 2, Call("w/2/truncate:a.csv#1", "truncate", "a.csv", 1, 2, 7, 0, 0, 2.0))
    taps.hear({"later": [_found(144, b"first"), _found(544, b"second")], "report": call.to_json()})
    later = [event for event in told if isinstance(event, FileLater)]
    assert later == [FileLater(1.5, 0, 144, 900, b"first"), FileLater(1.5, 1, 544, 900, b"second")]


def test_a_file_that_is_gone_has_no_bytes() -> None:
    told: list[AnyEvent] = []
    taps = _taps(told)
    taps.hear({"later": [], "report": _kill(0, 400).to_json()})
    call = Report("w", 1, Call("w/1/unlink:a.csv#1", "unlink", "a.csv", 1, 1, 7, 0, 0, 2.0))
    taps.hear({"later": [{"offset": 144}], "report": call.to_json()})
    assert [event for event in told if isinstance(event, FileLater)] == [FileLater(1.5, 0, 144)]
