"""The run: one judged journal, as the report formats draw it. `Report` is report.json, field for field."""

from typing import Any

import msgspec

from chaoskit.model.exit_codes import Result
from chaoskit.model.scenario import Scalar
from chaoskit.model.verdict import FaultRecord, Finding, Verdict

SCHEMA = 1


class Control(msgspec.Struct, frozen=True):
    """The run without faults that came first. `crash_points` is None where no tap counted them."""

    result: Result
    duration_s: float
    crash_points: int | None = None


class Points(msgspec.Struct, frozen=True):
    """An exploration in figures: experiments found, made, survived; never more than was really made.

    `crash_points` counts the calls of the control run, `merged` the recoveries left out because their state was one
    that had been explored.
    """

    found: int
    run: int
    survived: int
    crash_points: int = 0
    merged: int = 0


class Spot(msgspec.Struct, frozen=True):
    """The experiments at one crash point, named as in journals: `worker-2/0/write:metadata/CLI1.csv#2`."""

    name: str
    run: int
    survived: int


class Coverage(msgspec.Struct, frozen=True):
    """The experiments at one operation on one path; `spots` has them point by point."""

    op: str
    path: str
    points: int
    run: int
    survived: int
    spots: tuple[Spot, ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """An experiment that was not survived. `rate` is how often it failed, of how often it was made.

    `spot` names its crash point (Spot.name), `directory` is that of its run, relative to the exploration's.
    """

    plan: list[str]
    verdicts: tuple[Verdict, ...]
    replay: str
    rate: str
    findings: tuple[str, ...] = ()
    spot: str = ""
    directory: str = ""
    sentence: str = ""


class Report(msgspec.Struct, frozen=True):
    """report.json. Times are UTC; `result` is pass, fail, error or inconclusive; `sentence` is all of it in one."""

    chaoskit: str
    scenario: str
    runtime: str
    seed: int
    parameters: dict[str, Scalar]
    result: Result
    exit_code: int
    started: str
    duration_s: float
    verdicts: tuple[Verdict, ...]
    faults: tuple[FaultRecord, ...]
    restarts: dict[str, int]
    replay: str
    run_dir: str
    schema: int = SCHEMA
    control: Control | None = None
    findings: tuple[Finding, ...] = ()
    ended: str = ""
    logs: dict[str, list[str]] = {}
    points: Points | None = None
    coverage: tuple[Coverage, ...] = ()
    failures: tuple[Failed, ...] = ()
    sentence: str = ""

    def as_json(self) -> bytes:
        """Indented JSON, ending in a newline."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        ordered = {"schema": fields.pop("schema"), **{k: v for k, v in fields.items() if v is not None}}
        return msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n"


def from_json(text: bytes) -> Report:
    """The report in report.json. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Report)
