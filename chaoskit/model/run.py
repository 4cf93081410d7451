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


class Report(msgspec.Struct, frozen=True):
    """report.json. Times are UTC; `result` is pass, fail, error or inconclusive."""

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

    def as_json(self) -> bytes:
        """Indented JSON, ending in a newline."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        ordered = {"schema": fields.pop("schema"), **{k: v for k, v in fields.items() if v is not None}}
        return msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n"


def from_json(text: bytes) -> Report:
    """The report in report.json. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Report)
