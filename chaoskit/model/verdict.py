"""Verdicts and findings: what the checks say about a run."""

from typing import Literal

import msgspec

from chaoskit.model.exit_codes import ExitCode

Outcome = Literal["SUCCESS", "FAILURE", "MISSING"]


class Verdict(msgspec.Struct, frozen=True):
    """The outcome for one id. `lines` counts the different verdict lines seen, `detail` is the rest of the worst."""

    id: str
    outcome: Outcome
    lines: int = 0
    detail: str = ""


class Finding(msgspec.Struct, frozen=True):
    """Something a check noticed beyond the verdicts, with the exit code that it asks for and one line of text."""

    check: str
    code: ExitCode
    text: str


class FaultRecord(msgspec.Struct, frozen=True):
    """What became of one step of the plan. `trigger` is the point it fired at, or the trigger it waited for.

    `when` is before, inside or after where the point is a system call.
    """

    fault: str
    target: str
    trigger: str
    exact: bool
    fired: bool
    t_s: float | None = None
    restarted_after_s: float | None = None
    written_bytes: int | None = None
    when: str = ""
    note: str = ""
