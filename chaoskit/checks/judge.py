"""All checks over one journal: the judgement that a report draws and an exit code comes from."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chaoskit.checks import broker, faults, liveness, repeats, verdicts, verifier
from chaoskit.model.events import AnyEvent, RunStarted
from chaoskit.model.exit_codes import ExitCode, worst
from chaoskit.model.verdict import FaultRecord, Finding, Verdict


class Judgement(NamedTuple):
    """What the checks say of one journal."""

    verdicts: tuple[Verdict, ...]
    faults: tuple[FaultRecord, ...]
    findings: tuple[Finding, ...]
    code: ExitCode


Check = Callable[[Sequence[AnyEvent], RunStarted], list[Finding]]

# One line a check; each is guarded by itself, so that one that crashes hides nothing of the others.
CHECKS: dict[str, Check] = {
    "environment": lambda events, start: liveness.environment(events),
    "run-ended": lambda events, start: liveness.ended(events),
    "ran": lambda events, start: liveness.nothing_ran(events),
    "faults-fired": lambda events, start: faults.unfired(events, start.plan),
    "repeats": lambda events, start: repeats.repeated(events, start.scenario),
    "verifier": lambda events, start: verifier.ended_badly(events, start.scenario),
    "broker": lambda events, start: broker.lost_queues(events),
    "why-missing": lambda events, start: verifier.why_missing(events, start.scenario),
    "exits": lambda events, start: liveness.unexpected_exits(events, start.scenario),
}


def judge(events: Sequence[AnyEvent]) -> Judgement:
    """The judgement of a journal. Raises ValueError when it does not begin with its RunStarted event."""
    start = events[0] if events else None
    if not isinstance(start, RunStarted):
        raise ValueError("the journal does not begin with run-started")
    found, findings = _verdicts(events, start)
    for name, check in CHECKS.items():
        findings += _guarded(name, check, events, start)
    code = worst([*(f.code for f in findings), *map(_code, found)])
    if not found:
        code = worst([code, ExitCode.INCONCLUSIVE])
    return Judgement(tuple(found), tuple(faults.records(events, start.plan)), tuple(findings), code)


def _code(verdict: Verdict) -> ExitCode:
    return ExitCode.OK if verdict.outcome == "SUCCESS" else ExitCode.FAILURE


def _verdicts(events: Sequence[AnyEvent], start: RunStarted) -> tuple[list[Verdict], list[Finding]]:
    try:
        return verdicts.verdicts(events, start.scenario), []
    except Exception as e:  # noqa: BLE001 (as below)
        return [], [_crashed("verdicts", e)]


def _guarded(name: str, check: Check, events: Sequence[AnyEvent], start: RunStarted) -> list[Finding]:
    try:
        return check(events, start)
    except Exception as e:  # noqa: BLE001 (a check that crashes must not be green, whatever it raised)
        return [_crashed(name, e)]


def _crashed(name: str, error: Exception) -> Finding:
    return Finding(name, ExitCode.INCONCLUSIVE, f"the check {name} crashed: {type(error).__name__}: {error}")
