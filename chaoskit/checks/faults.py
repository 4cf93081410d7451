"""What became of each planned fault, and a finding for each that never fired: such a run is never green."""

from collections.abc import Sequence

from chaoskit.model.events import AnyEvent, FaultFailed, FaultFired, ProgramExited, ProgramStarted
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtCall
from chaoskit.model.verdict import FaultRecord, Finding


def records(events: Sequence[AnyEvent], plan: Plan) -> list[FaultRecord]:
    """One record a step, in the order of the plan."""
    fired = {e.step: (i, e) for i, e in reversed(list(enumerate(events))) if isinstance(e, FaultFired)}
    failed = {e.step: e.reason for e in events if isinstance(e, FaultFailed)}
    return [_record(i, step, fired.get(i), failed.get(i), events) for i, step in enumerate(plan.steps)]


def _record(
    i: int, step: Step, fired: tuple[int, FaultFired] | None, failed: str | None, events: Sequence[AnyEvent]
) -> FaultRecord:
    if fired is None:
        note = failed or "the point was not reached"
        return FaultRecord(step.fault, step.target, str(step.at), step.at.exact, False, note=note)
    position, event = fired
    return FaultRecord(
        step.fault,
        step.target,
        event.point,
        step.at.exact,
        True,
        event.t_s,
        _restarted_after(events[position:], step.target),
        event.written_bytes,
        step.at.when if isinstance(step.at, AtCall) else "",
        event.detail,
    )


def _restarted_after(events: Sequence[AnyEvent], program: str) -> float | None:
    """Seconds from the death of `program` that the fault at the head of `events` caused to its next start."""
    died = False
    for event in events[1:]:
        if isinstance(event, FaultFired) and not died:
            return None
        if isinstance(event, ProgramExited) and event.program == program:
            died = event.hurt
        elif isinstance(event, ProgramStarted) and event.program == program and died:
            return event.after_s
    return None


def unfired(events: Sequence[AnyEvent], plan: Plan) -> list[Finding]:
    """A finding for each step that never fired."""
    return [
        Finding(
            "faults-fired",
            ExitCode.INCONCLUSIVE,
            f"never fired: {record.fault} {record.target} at {record.trigger} ({record.note})",
        )
        for record in records(events, plan)
        if not record.fired
    ]
