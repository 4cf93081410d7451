"""From the verifier's lines to one verdict an id: the worst outcome wins, an expected id without a line is MISSING."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from chaoskit.model.events import AnyEvent, LogLine
from chaoskit.model.scenario import Scenario, Verifier
from chaoskit.model.verdict import Outcome, Verdict


class VerdictLine(NamedTuple):
    """One verdict found in a line: its id, outcome, and the text after it."""

    id: str
    outcome: Outcome
    detail: str


class Reader:
    """Finds the verdicts of one verifier in lines of its output, wherever in the line they stand."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier
        self._patterns: list[tuple[Outcome, re.Pattern[str]]] = [
            ("SUCCESS", re.compile(verifier.success)),
            ("FAILURE", re.compile(verifier.failure)),
        ]

    def lines(self, text: str) -> Iterator[VerdictLine]:
        """Every verdict in one line of output."""
        for outcome, pattern in self._patterns:
            for match in pattern.finditer(text):
                yield VerdictLine(match["id"] or "", outcome, text[match.end() :].strip(" -:\t"))


def verdicts(events: Iterable[AnyEvent], scenario: Scenario) -> list[Verdict]:
    """One verdict for each id that was expected or judged, in the order expected, then seen.

    The same outcome printed twice (once plain, once by a logger) is one verdict; SUCCESS and FAILURE for one id is
    FAILURE, and says that they contradict.
    """
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
