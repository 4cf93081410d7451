"""What became of each planned fault, and a finding for each that never fired: such a run is never green."""

from collections.abc import Sequence

from chaoskit.checks.unreached import why_unreached
from chaoskit.model.events import AnyEvent, FaultFailed, FaultFired, ProgramExited, ProgramStarted
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtCall, AtIntervals
from chaoskit.model.verdict import FaultRecord, Finding


def records(events: Sequence[AnyEvent], plan: Plan) -> list[FaultRecord]:
    """One record a step, in the order of the plan; of a step that recurs one for each time that it happened."""
    fired: dict[int, list[int]] = {}
    for position, event in enumerate(events):
        if isinstance(event, FaultFired):
            fired.setdefault(event.step, []).append(position)
    failed = {e.step: e.reason for e in events if isinstance(e, FaultFailed)}
    found = []
    for i, step in enumerate(plan.steps):
        times = fired.get(i, []) if isinstance(step.at, AtIntervals) else fired.get(i, [])[:1]
        struck = [position for position in times if not _came_too_late(step, events[position:])]
        found += [_fired(step, events[position:], plan) for position in struck]
        if not struck:
            late = _came_too_late(step, events[times[-1] :]) if times else ""
            found.append(_unfired(step, failed.get(i) or late, events))
    return found


def _came_too_late(step: Step, events: Sequence[AnyEvent]) -> str:
    """How the target ended by itself, when that was before the signal which the head of `events` tells of; or ''.

    What the tap kills it holds, so that this cannot happen to it.
    """
    event = events[0]
    if step.fault != "kill" or isinstance(step.at, AtCall) or not isinstance(event, FaultFired):
        return ""
    target = event.target or step.target
    ends = (event for event in events if isinstance(event, ProgramExited) and event.program == target)
    end = next(ends, None)
    return "" if end is None or end.hurt else f"{target} had just ended by itself with code {end.code}"


def _fired(step: Step, events: Sequence[AnyEvent], plan: Plan) -> FaultRecord:
    """The record of a step that fired at the head of `events`."""
    event = events[0]
    assert isinstance(event, FaultFired)
    target = event.target or step.target
    return FaultRecord(
        step.fault,
        target,
        event.point,
        step.at.exact,
        True,
        event.t_s,
        _restarted_after(events, target, plan),
        event.written_bytes,
        step.at.when if isinstance(step.at, AtCall) else "",
        event.detail or (str(step.at) if isinstance(step.at, AtIntervals) else ""),
    )


def _unfired(step: Step, failed: str | None, events: Sequence[AnyEvent]) -> FaultRecord:
    note = failed or why_unreached(step, events)
    return FaultRecord(step.fault, step.target, str(step.at), step.at.exact, False, note=note)


def _restarted_after(events: Sequence[AnyEvent], program: str, plan: Plan) -> float | None:
    """Seconds from the death of `program` that the fault at the head of `events` caused to its next start.

    A death is told a little after the kill, a container's more so: what happens to others in between changes nothing.
    """
    died = False
    for event in events[1:]:
        if isinstance(event, FaultFired) and not died and program == (event.target or plan.steps[event.step].target):
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
