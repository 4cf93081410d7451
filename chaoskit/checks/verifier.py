"""Did the verifier do its part? What is wrong with one that ended early, crashed, or says nothing in the right words.

Missing verdicts make a run fail by themselves; these findings say what to change. It does not look at the verdicts
that did come.
"""

from collections.abc import Sequence

from chaoskit.checks.verdicts import Reader, how_it_ended, verdicts
from chaoskit.model.events import AnyEvent, EnvironmentLost, LogLine, ProgramExited, ProgramStarted, RunEnded
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.scenario import Scenario
from chaoskit.model.verdict import Finding

_SHOWN_CHARACTERS = 80


def ended_badly(events: Sequence[AnyEvent], scenario: Scenario) -> list[Finding]:
    """A command that judges by its lines and ends with an error is no success, whatever its lines said."""
    verifier = scenario.verifier
    end = _end(events, verifier.program)
    if verifier.exit_code or not verifier.command or end is None or end.code == 0:
        return []
    text = f"the verifier's command ended badly ({how_it_ended(end.code)}), so what it printed does not count as green"
    return [Finding("verifier", ExitCode.FAILURE, text)]


def why_missing(events: Sequence[AnyEvent], scenario: Scenario) -> list[Finding]:
    """What to change where verdicts are missing that nobody can give any more, and nobody kept them from coming."""
    verifier = scenario.verifier
    missing = [v.id for v in verdicts(events, scenario) if v.outcome == "MISSING"]
    if not missing or verifier.exit_code or _cut_short(events) or not _started(events, verifier.program):
        return []
    lines = [e for e in events if isinstance(e, LogLine) and e.program == verifier.program]
    reader, end = Reader(verifier), _end(events, verifier.program)
    if lines and not any(True for line in lines for _ in reader.lines(line.text)):
        return [_finding(_nothing_matches(verifier.program, lines))]
    if end is not None:
        what = f"{verifier.program}, the verifier, ended by itself ({how_it_ended(end.code)}) before it had judged"
        return [_finding(f"{what} {', '.join(missing)}: it has to stay up, or to print a verdict for each before")]
    if not lines:
        return [_finding(f"{verifier.program}, the verifier, printed nothing: does it buffer its output, or wait?")]
    return []


def _nothing_matches(program: str, lines: Sequence[LogLine]) -> str:
    last = lines[-1].text.strip()
    shown = last if len(last) <= _SHOWN_CHARACTERS else f"{last[:_SHOWN_CHARACTERS]}..."
    return (
        f"none of the {len(lines)} lines of {program} matches `success` or `failure` of the verifier: mend the "
        f"patterns in the scenario; its last line: {shown!r}"
    )


def _finding(text: str) -> Finding:
    return Finding("verifier", ExitCode.FAILURE, text)


def _cut_short(events: Sequence[AnyEvent]) -> bool:
    """Whether the run was over before the verifier could be: interrupted, or without its broker, its engine..."""
    return any(
        isinstance(e, EnvironmentLost) or (isinstance(e, RunEnded) and e.reason in ("interrupted", "error"))
        for e in events
    )


def _started(events: Sequence[AnyEvent], program: str) -> bool:
    return any(isinstance(e, ProgramStarted) and e.program == program for e in events)


def _end(events: Sequence[AnyEvent], program: str) -> ProgramExited | None:
    """How the program ended, where it ended by itself and was not started again."""
    for event in reversed(events):
        if isinstance(event, ProgramStarted) and event.program == program:
            return None
        if isinstance(event, ProgramExited) and event.program == program:
            return None if event.hurt or event.stopping else event
    return None
