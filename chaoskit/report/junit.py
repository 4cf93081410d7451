"""JUnit XML: one test case a verdict, and one for each finding that keeps a run from being green.

An exploration has one for each crash point. Those that were not survived are all there; of the others as many as a CI
server still shows well, and a skipped case says how many were left out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Coverage, Failed, Report, Spot
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.report.clean import clean

_MOST_SURVIVED = 2000
_MOST_SUCCESSES = 5000


def render(report: Report) -> str:
    """The XML document of one run, as CI servers read it."""
    return _document([(_suite(report), report)])


def render_runs(reports: Sequence[Report]) -> str:
    """The XML document of several runs of a scenario: a suite for each, named by its seed."""
    return _document([(_suite_of_seed(report), report) for report in reports])


def _suite_of_seed(report: Report) -> TestSuite:
    suite = _suite(report)
    suite.name = f"{suite.name}, seed {report.seed}"
    # Of cases with the same class and name some CI servers show only the first, whichever suites they are in.
    for case in suite:
        case.classname = f"{case.classname}.seed-{report.seed}"
    return suite


def _suite(report: Report) -> TestSuite:
    suite = TestSuite(f"chaoskit {clean(report.scenario)}")
    suite.timestamp = report.started.rstrip("Z")
    suite.add_property("seed", str(report.seed))
    suite.add_property("runtime", clean(report.runtime))
    suite.add_property("replay", clean(report.replay, 1000))
    if report.sentence:
        suite.add_property("sentence", clean(report.sentence, 1000))
    # All at once: for each call the statistics of the whole suite are counted again.
    judged = _explored(report) if report.points else _judged(report)
    noticed = (_finding(report, finding) for finding in report.findings if finding.code is not ExitCode.OK)
    suite.add_testcases([*judged, *noticed])
    return suite


def _document(suites: Sequence[tuple[TestSuite, Report]]) -> str:
    xml = JUnitXml("chaoskit")
    for suite, _ in suites:
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    # The cases of a run have no times of their own, and the schema of JUnit 10 knows no `skipped` for all suites.
    for suite, report in suites:
        suite.time = round(report.duration_s, 3)
    xml.time = round(sum(report.duration_s for _, report in suites), 3)
    xml._elem.attrib.pop("skipped", None)
    document: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return document.decode("utf-8")


def _case(report: Report, name: str) -> TestCase:
    return TestCase(name or "(no name)", classname=f"chaoskit.{clean(report.scenario)}")


def _left_out(report: Report, count: int, of: str) -> Iterator[TestCase]:
    """A skipped case that says how many are missing; none when all are there."""
    if count > 0:
        case = _case(report, f"({count} more {of})")
        case.result = [Skipped(f"{count} more {of} are left out here: report.json has them all")]
        yield case


def _judged(report: Report) -> Iterator[TestCase]:
    bad = [v for v in report.verdicts if v.outcome != "SUCCESS"]
    good = [v for v in report.verdicts if v.outcome == "SUCCESS"]
    told = _what_to_do(report) if bad else ""
    for verdict in (*bad, *good[:_MOST_SUCCESSES]):
        yield _verdict(report, verdict, told)
    yield from _left_out(report, len(good) - _MOST_SUCCESSES, "verdicts that are SUCCESS")


def _verdict(report: Report, verdict: Verdict, told: str) -> TestCase:
    case = _case(report, clean(verdict.id))
    if verdict.outcome != "SUCCESS":
        failure = Failure(f"{verdict.outcome} [{clean(verdict.id)}] {clean(verdict.detail)}", verdict.outcome)
        failure.text = told
        case.result = [failure]
    return case


# --- explorations ---


def _explored(report: Report) -> Iterator[TestCase]:
    failures: dict[str, list[Failed]] = defaultdict(list)
    for failed in report.failures:
        # A report of an older version names no crash point: each failure then is a case of its own.
        failures[failed.spot or "; ".join(failed.plan)].append(failed)
    for name, at_spot in failures.items():
        yield _not_survived(report, name, at_spot)
    good = [spot for row in report.coverage for spot in _spots(row) if spot.name not in failures]
    for spot in good[:_MOST_SURVIVED]:
        yield _case(report, f"{clean(spot.name)} ({spot.survived} experiments)")
    yield from _left_out(report, len(good) - _MOST_SURVIVED, "crash points that were survived")


def _spots(row: Coverage) -> tuple[Spot, ...]:
    """The points of a row; of a report of an older version, the row as one if all of it was survived."""
    if row.spots or row.run != row.survived:
        return row.spots
    return (Spot(f"{row.op}:{row.path}", row.run, row.survived),)


def _not_survived(report: Report, name: str, failures: Sequence[Failed]) -> TestCase:
    case = _case(report, clean(name))
    one = failures[0]
    what = clean(one.sentence or "; ".join(one.plan), 1000)
    failure = Failure(f"not survived, {clean(one.rate)} times: {what}", "FAILURE")
    failure.text = "\n\n".join("\n".join(_lines(failed)) for failed in failures)
    case.result = [failure]
    return case


def _lines(failed: Failed) -> Iterator[str]:
    if failed.sentence:
        yield clean(failed.sentence, 1000)
    yield from (clean(step) for step in failed.plan)
    yield from (clean(f"{v.outcome} [{v.id}] {v.detail}") for v in failed.verdicts)
    yield from (clean(text) for text in failed.findings)
    yield f"{clean(failed.rate)} times"
    yield clean(failed.replay, 1000)


# --- what both have ---


def _finding(report: Report, finding: Finding) -> TestCase:
    case = _case(report, f"({clean(finding.check)})")
    kind = Failure if finding.code is ExitCode.FAILURE else Error
    result = kind(clean(finding.text), clean(finding.check))
    result.text = _what_to_do(report)
    case.result = [result]
    return case


def _what_to_do(report: Report) -> str:
    faults = [f"{f.fault} {f.target} at {f.trigger}{'' if f.fired else ' (never fired)'}" for f in report.faults]
    lines = [line for program, tail in sorted(report.logs.items()) for line in (f"{program}:", *tail)]
    first = (report.sentence, *faults, f"seed {report.seed}", report.replay, "", *lines)
    return "\n".join(clean(line, 1000) for line in first)
