"""From a journal to a report: judge the run (and its control run) and put the figures together. Runs nothing."""

from collections import Counter, deque
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from chaoskit import journal
from chaoskit.checks import Judgement, judge
from chaoskit.engine.rundir import RunDir
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, Call, LogLine, ProgramExited, ProgramStarted, RunEnded, RunStarted
from chaoskit.model.exit_codes import ExitCode, result_word, worst
from chaoskit.model.run import Control, Report
from chaoskit.model.verdict import Finding
from chaoskit.report.sentence import sentence

_TAIL_LINES = 15
_ABOUT_S = 0.02


def assess(run_dir: RunDir) -> Report:
    """The report of a saved run. Raises UsageError when its journal cannot be read."""
    control = journal.read(run_dir.control.journal) if run_dir.control.journal.is_file() else None
    if run_dir.journal.is_file():
        return report(run_dir, journal.read(run_dir.journal), control)
    if control is None:
        raise UsageError(f"{run_dir} has no journal: nothing ran")
    return report(run_dir, control, control)


def report(run_dir: RunDir, events: Sequence[AnyEvent], control: Sequence[AnyEvent] | None) -> Report:
    """The report of a run with these events. Where the control run was not green, there is no other: `events` is it."""
    start = events[0] if events else None
    if not isinstance(start, RunStarted):
        raise UsageError(f"{run_dir}: the journal does not begin with a run")
    judgement = judge(events)
    findings, code = judgement.findings, judgement.code
    if control is not None:
        extra = _control_findings(judge(control))
        # Where the control run is all there is, its findings are the run's own.
        findings = tuple(dict.fromkeys((*extra, *findings)))
        code = worst([code, *(f.code for f in extra)])
    made = Report(
        chaoskit=start.chaoskit,
        scenario=start.scenario.name,
        runtime=start.runtime,
        seed=start.plan.seed,
        parameters=start.scenario.parameters,
        result=result_word(code),
        exit_code=int(code),
        started=start.started,
        duration_s=round(events[-1].t_s, 3),
        control=None if control is None else _control(control),
        verdicts=judgement.verdicts,
        faults=judgement.faults,
        findings=findings,
        restarts=_restarts(events),
        replay=f"chaoskit replay {run_dir}",
        run_dir=str(run_dir),
        ended=next((e.reason for e in reversed(events) if isinstance(e, RunEnded)), ""),
        logs={} if code is ExitCode.OK else _tails(events),
    )
    return msgspec.structs.replace(made, sentence=sentence(made, events, control or ()))


def _control(events: Sequence[AnyEvent]) -> Control:
    start = events[0]
    tapped = isinstance(start, RunStarted) and not start.tap
    points = sum(1 for e in events if isinstance(e, Call))
    return Control(result_word(judge(events).code), round(events[-1].t_s, 3), points if tapped else None)


def _control_findings(control: Judgement) -> tuple[Finding, ...]:
    if control.code is ExitCode.OK:
        return ()
    text = "the control run, without any fault, is not green: mend the pipeline or the scenario first"
    return (Finding("control", control.code, text), *(f for f in control.findings if f.code is not ExitCode.OK))


def _restarts(events: Sequence[AnyEvent]) -> dict[str, int]:
    return dict(Counter(e.program for e in events if isinstance(e, ProgramStarted) and e.life > 0))


def _tails(events: Sequence[AnyEvent]) -> dict[str, list[str]]:
    tails: dict[str, deque[str]] = {}
    for e in events:
        if isinstance(e, LogLine):
            tails.setdefault(e.program, deque(maxlen=_TAIL_LINES)).append(e.text)
    return {program: list(lines) for program, lines in tails.items()}


def events_of(run_dir: RunDir) -> list[AnyEvent]:
    """The events of a saved run. Raises UsageError when its journal cannot be read."""
    return journal.read(run_dir.journal)


def longest_silence_s(events: Sequence[AnyEvent]) -> float:
    """The longest time in which nothing happened in a run: how long its programs may be quiet and still be at work.

    The silence in which the run itself waited, to be sure that nothing more would come, says nothing about them.
    """
    gaps = [b.t_s - a.t_s for a, b in pairwise(events) if not _ends_a_wait(b, events)]
    waited_s = next((e.waited_s for e in reversed(events) if isinstance(e, RunEnded)), 0.0)
    return max((gap for gap in gaps if waited_s == 0 or abs(gap - waited_s) > _ABOUT_S), default=0.0)


def _ends_a_wait(event: AnyEvent, events: Sequence[AnyEvent]) -> bool:
    """Whether chaoskit did this when it had waited long enough: the end of the run, or the command that judges."""
    start = events[0]
    last = start.scenario.verifier.last if isinstance(start, RunStarted) else None
    if isinstance(event, ProgramStarted):
        return event.program == last
    return isinstance(event, RunEnded) or (isinstance(event, ProgramExited) and event.stopping)


def save(run_dir: RunDir, made: Report) -> None:
    """Write report.json."""
    run_dir.report.write_bytes(made.as_json())
