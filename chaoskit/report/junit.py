"""JUnit XML: one test case a verdict, and one for each finding that keeps a run from being green.

An exploration has one for each operation and path whose points were all survived, and one for each failure.
"""

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Report
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.report.clean import clean

# A file of more is read by nobody, and report.json has them all.
_MOST_FAILURES = 1000


def render(report: Report) -> str:
    """The XML document of one run, as CI servers read it."""
    suite = TestSuite(f"chaoskit {report.scenario}")
    suite.timestamp = report.started.rstrip("Z")
    suite.add_property("seed", str(report.seed))
    suite.add_property("runtime", report.runtime)
    suite.add_property("replay", clean(report.replay))
    # All at once: for each call the statistics of the whole suite are counted again.
    judged = _explored(report) if report.points else [_verdict(report, verdict) for verdict in report.verdicts]
    noticed = [_finding(report, finding) for finding in report.findings if finding.code is not ExitCode.OK]
    suite.add_testcases([*judged, *noticed])
    xml = JUnitXml("chaoskit")
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    document: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return document.decode("utf-8")


def _verdict(report: Report, verdict: Verdict) -> TestCase:
    case = TestCase(clean(verdict.id), classname=f"chaoskit.{report.scenario}", time=report.duration_s)
    if verdict.outcome != "SUCCESS":
        failure = Failure(f"{verdict.outcome} [{clean(verdict.id)}] {clean(verdict.detail)}", verdict.outcome)
        failure.text = _what_to_do(report)
        case.result = [failure]
    return case


def _explored(report: Report) -> list[TestCase]:
    classname = f"chaoskit.{report.scenario}"
    survived = [row for row in report.coverage if row.run == row.survived]
    cases = [TestCase(f"{r.op}:{clean(r.path)} ({r.survived} experiments)", classname=classname) for r in survived]
    for failed in report.failures[:_MOST_FAILURES]:
        case = TestCase(clean("; ".join(failed.plan)), classname=classname)
        failure = Failure(f"not survived, {failed.rate} times", "FAILURE")
        verdicts = (f"{v.outcome} [{v.id}] {v.detail}" for v in failed.verdicts)
        failure.text = "\n".join(clean(line) for line in (*verdicts, *failed.findings, failed.replay))
        case.result = [failure]
        cases.append(case)
    return cases


def _finding(report: Report, finding: Finding) -> TestCase:
    case = TestCase(f"({finding.check})", classname=f"chaoskit.{report.scenario}", time=0)
    error = Error(clean(finding.text), finding.check)
    error.text = _what_to_do(report)
    case.result = [error]
    return case


def _what_to_do(report: Report) -> str:
    faults = [f"{f.fault} {f.target} at {f.trigger}{'' if f.fired else ' (never fired)'}" for f in report.faults]
    lines = [line for program, tail in sorted(report.logs.items()) for line in (f"{program}:", *tail)]
    return "\n".join(clean(line) for line in (*faults, f"seed {report.seed}", report.replay, "", *lines))
