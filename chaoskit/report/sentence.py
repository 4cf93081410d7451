"""The whole report in one sentence: who lost what, what was done to which program, and where exactly. Pure.

`CLI2 got no result: worker-2 was killed after the last row was written to metadata/CLI2.csv and before the result was
sent`. It tells what was done and what came of it, in that order; that the one is the cause of the other is as sure as
the control run is green. Where several faults were done, the one that touches the client is told.
"""

import re
from collections.abc import Sequence

from chaoskit.model.events import AnyEvent, ProgramExited
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Failed, Points, Report
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.report.clean import clean
from chaoskit.report.wording import Told, all_of, tell

_NAMED = 3
_FIRST_WORDS = ("all", "interrupted", "nothing")
_UNNAMED = re.compile(r"#\d+ of (\d+)")


def sentence(report: Report, events: Sequence[AnyEvent], control: Sequence[AnyEvent] = ()) -> str:
    """What the report says, without a full stop. For an exploration the events do not matter."""
    if finding := _first(report, "control"):
        lost = _lost(report.verdicts)
        return f"{clean(report.scenario)} is not green without any fault either: {lost or clean(finding.text)}"
    if report.exit_code == ExitCode.INTERRUPTED:
        return f"interrupted after {report.duration_s:.1f} s, so nothing is proved"
    if report.exit_code == ExitCode.ENVIRONMENT:
        return f"nothing can be said about {clean(report.scenario)}: {_reason(report, ExitCode.ENVIRONMENT)}"
    if report.points is not None:
        return _explored(report, report.points)
    if report.exit_code == ExitCode.FAILURE:
        return _failed(report, events, control)
    if report.exit_code == ExitCode.OK:
        return _passed(report, tell(report.faults, events, control))
    return _unproved(report)


def begun(sentence: str) -> str:
    """The sentence with a capital letter where it begins with a word; a name stays as it is."""
    return sentence[:1].upper() + sentence[1:] if sentence.split(" ", 1)[0] in _FIRST_WORDS else sentence


def _first(report: Report, check: str) -> Finding | None:
    return next((f for f in report.findings if f.check == check), None)


def _reason(report: Report, code: ExitCode) -> str:
    return next((clean(f.text) for f in report.findings if f.code is code), "no reason was noted")


def _failed(report: Report, events: Sequence[AnyEvent], control: Sequence[AnyEvent]) -> str:
    bad = _bad(report.verdicts)
    about = bad[0].id if bad else ""
    told = tell(report.faults, events, control, about)
    what = _lost(report.verdicts) or _reason(report, ExitCode.FAILURE)
    if told:
        return f"{what}: {all_of(told, _touching(told, about))}"
    if any(f.fired for f in report.faults):
        return f"{what}: {_done(report)}"
    # A fault that came out as another one than was planned has not fired, and has killed all the same.
    hurt = any(isinstance(e, ProgramExited) and e.hurt for e in events)
    return f"{what}, though {'no planned fault fired' if hurt else 'nothing had been hurt'}"


def _done(report: Report) -> str:
    """Faults whose events are not at hand."""
    return "; ".join(f"{clean(f.fault, 40)} of {clean(f.target, 40)}" for f in report.faults[:_NAMED] if f.fired)


def _touching(told: Sequence[Told], about: str) -> Told:
    """The last fault whose place names the id; else the last of all."""
    name = re.compile(rf"(?<![A-Za-z0-9]){re.escape(about)}(?![A-Za-z0-9])")
    touching = [t for t in told if about and name.search(f"{t.record.trigger} {t.text}")]
    return (touching or list(told))[-1]


def _bad(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that are not SUCCESS: what came wrong is worse than what did not come."""
    return [v for v in verdicts if v.outcome == "FAILURE"] + [v for v in verdicts if v.outcome == "MISSING"]


def _lost(verdicts: Sequence[Verdict]) -> str:
    """What is wrong with the verdicts; '' when nothing is."""
    wrong = [v for v in verdicts if v.outcome == "FAILURE"]
    missing = [v for v in verdicts if v.outcome == "MISSING"]
    parts = [_wrong(wrong)] if wrong else []
    parts += [_missing(missing, len(verdicts))] if missing else []
    return " and ".join(parts)


def _wrong(verdicts: Sequence[Verdict]) -> str:
    first = verdicts[0]
    text = clean(first.detail.partition(" (contradicts an earlier")[0], 120)
    detail = f" ({text})" if text else ""
    if first.lines > 1:
        return f"{_names(verdicts)} was said to be right and then wrong{detail}"
    what = "got a wrong result" if "xpected" in first.detail else "failed"
    return f"{_names(verdicts)} {what}{detail}"


def _missing(verdicts: Sequence[Verdict], expected: int) -> str:
    if _UNNAMED.fullmatch(verdicts[0].id):
        return f"{len(verdicts)} of {expected} results did not come"
    return f"{_names(verdicts)} got no result"


def _names(verdicts: Sequence[Verdict]) -> str:
    names = [clean(v.id, 60) or "(no id)" for v in verdicts[:_NAMED]]
    if len(verdicts) > _NAMED:
        return f"{', '.join(names)} and {len(verdicts) - _NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _passed(report: Report, told: Sequence[Told]) -> str:
    n = len(report.verdicts)
    good = f"all {n} verdicts are SUCCESS" if n > 1 else "the one verdict is SUCCESS"
    if told:
        return f"{good}, although {all_of(told)}"
    return (
        f"{good}, in spite of {_done(report)}" if any(f.fired for f in report.faults) else f"{good}; nothing was hurt"
    )


def _unproved(report: Report) -> str:
    unfired = [f for f in report.faults if not f.fired]
    if unfired:
        first = unfired[0]
        rest = f" (nor did {len(unfired) - 1} more faults)" if len(unfired) > 1 else ""
        place = f"{first.fault} {clean(first.target, 60)} at {clean(first.trigger, 120)}"
        return f"nothing is proved, because a planned fault never happened: {place}{rest}; {clean(first.note, 160)}"
    if not report.verdicts:
        return f"nothing is proved: {_reason(report, ExitCode.INCONCLUSIVE)}"
    return f"nothing is proved, though no verdict is bad: {_reason(report, ExitCode.INCONCLUSIVE)}"


# --- explorations ---


def _explored(report: Report, points: Points) -> str:
    if report.exit_code == ExitCode.OK:
        return f"all {points.run} experiments at {points.crash_points or _places(report)} crash points were survived"
    survived = f"{points.survived} of {points.run} experiments were survived"
    if not report.failures:
        return f"{survived}, but {_reason(report, ExitCode.INCONCLUSIVE)}"
    worst = worst_of(report.failures)
    n = len(report.failures)
    which = "one was not" if n == 1 else f"the worst of the {n} that were not"
    return f"{survived}; {which} ({clean(worst.rate)} times): {_experiment(worst)}"


def _places(report: Report) -> int:
    return sum(row.points for row in report.coverage)


def worst_of(failures: Sequence[Failed]) -> Failed:
    """The failure to look at first: the surest, then that with most wrong, then the one with the shortest plan."""
    return max(failures, key=_badness)


def _badness(failed: Failed) -> tuple[float, int, int, int]:
    times, _, made = failed.rate.partition(" of ")
    share = int(times) / int(made) if times.isdecimal() and made.isdecimal() and int(made) else 0.0
    wrong = sum(1 for v in failed.verdicts if v.outcome == "FAILURE")
    return share, wrong, len(failed.verdicts), -len(failed.plan)


def _experiment(failed: Failed) -> str:
    if failed.sentence:
        return failed.sentence
    lost = _lost(failed.verdicts) or "; ".join(map(clean, failed.findings)) or "it failed"
    return f"{lost}: {clean('; '.join(failed.plan), 200)}"
