"""From the verifier's lines to one verdict an id: the worst outcome wins, an expected id without a line is MISSING.

Where the verifier's exit code is the verdict, its last end that nobody forced counts, and its last line explains it.
"""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from chaoskit.model.events import AnyEvent, LogLine, ProgramExited
from chaoskit.model.scenario import Scenario, Verifier
from chaoskit.model.verdict import Outcome, Verdict


class VerdictLine(NamedTuple):
    """One verdict found in a line: its id, outcome, and the text after it."""

    id: str
    outcome: Outcome
    detail: str


class Reader:
    """Finds the verdicts of one verifier in lines of its output, wherever in the line they stand.

    A pattern without a group `id` stands for the one verdict that is expected. Where the exit code is the verdict, no
    line is one.
    """

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier
        patterns: list[tuple[Outcome, str]] = [("SUCCESS", verifier.success), ("FAILURE", verifier.failure)]
        self._patterns = [(o, re.compile(pattern)) for o, pattern in patterns if not verifier.exit_code]

    def lines(self, text: str) -> Iterator[VerdictLine]:
        """Every verdict in one line of output."""
        for outcome, pattern in self._patterns:
            for match in pattern.finditer(text):
                yield VerdictLine(self._id(match), outcome, text[match.end() :].strip(" -:\t"))

    def _id(self, match: re.Match[str]) -> str:
        if "id" in match.re.groupindex:
            return match["id"] or ""
        return self.verifier.expect[0] if isinstance(self.verifier.expect, tuple) else ""


def judged_by_exit(event: AnyEvent, verifier: Verifier) -> bool:
    """Whether this event is the end of a verifier whose exit code is the verdict."""
    if not isinstance(event, ProgramExited) or event.program != verifier.program:
        return False
    return verifier.exit_code and not event.hurt and not event.stopping


def of_exit(end: ProgramExited, last_line: str, verifier: Verifier) -> VerdictLine:
    """The verdict of a verifier that ended so, with the last line that it printed."""
    id_ = verifier.expect[0] if isinstance(verifier.expect, tuple) else ""
    if end.code == 0:
        return VerdictLine(id_, "SUCCESS", last_line)
    how = how_it_ended(end.code)
    return VerdictLine(id_, "FAILURE", f"{last_line} ({how})" if last_line else how)


def verdicts(events: Sequence[AnyEvent], scenario: Scenario) -> list[Verdict]:
    """One verdict for each id that was expected or judged, in the order expected, then seen.

    The same outcome printed twice (once plain, once by a logger) is one verdict; SUCCESS and FAILURE for one id is
    FAILURE, and says that they contradict.
    """
    if scenario.verifier.exit_code:
        return [_by_exit_code(events, scenario)]
    verifier, expected = scenario.verifier, scenario.expected()
    reader = Reader(verifier)
    seen: dict[str, dict[Outcome, str]] = {}
    for event in events:
        if isinstance(event, LogLine) and event.program == verifier.program:
            for line in reader.lines(event.text):
                seen.setdefault(line.id, {}).setdefault(line.outcome, line.detail)
    named = expected if isinstance(expected, tuple) else ()
    ids = [*named, *(id_ for id_ in seen if id_ not in named)]
    found = [_one(id_, seen.get(id_, {})) for id_ in ids]
    return [*found, *_unnamed_missing(expected, len(found))]


def _by_exit_code(events: Sequence[AnyEvent], scenario: Scenario) -> Verdict:
    verifier = scenario.verifier
    end = next((e for e in reversed(events) if judged_by_exit(e, verifier)), None)
    if not isinstance(end, ProgramExited):
        id_ = verifier.expect[0] if isinstance(verifier.expect, tuple) else scenario.name
        return Verdict(id_, "MISSING", 0, f"{verifier.program} did not come to its end")
    lines = [e.text for e in events if isinstance(e, LogLine) and (e.program, e.life) == (end.program, end.life)]
    line = of_exit(end, next((text.strip() for text in reversed(lines) if text.strip()), ""), verifier)
    return Verdict(line.id, line.outcome, 1, line.detail)


def how_it_ended(code: int) -> str:
    """An exit code in words: `exit code 1`, `killed by SIGSEGV`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _one(id_: str, outcomes: Mapping[Outcome, str]) -> Verdict:
    if not outcomes:
        return Verdict(id_, "MISSING", 0, "no verdict line came")
    if "FAILURE" not in outcomes:
        return Verdict(id_, "SUCCESS", 1, outcomes["SUCCESS"])
    detail = outcomes["FAILURE"]
    if "SUCCESS" in outcomes:
        detail = f"{detail} (contradicts an earlier SUCCESS: {outcomes['SUCCESS']})"
    return Verdict(id_, "FAILURE", len(outcomes), detail)


def _unnamed_missing(expected: tuple[str, ...] | int, found: int) -> Iterator[Verdict]:
    if isinstance(expected, int):
        for n in range(found, expected):
            yield Verdict(f"#{n + 1} of {expected}", "MISSING", 0, "no verdict line came")
