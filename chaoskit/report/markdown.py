"""A Markdown summary for a CI job's page, and annotations. Text from programs is escaped; the size is bounded."""

import re
from collections.abc import Iterator

from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Report
from chaoskit.report.clean import clean

_MARKS = {"pass": "✅", "fail": "❌", "error": "💥", "inconclusive": "❔"}
# A summary of GitHub Actions may hold 1 MiB; a row of ours stays below 2 KB.
_ROWS = 200
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@-])")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    return _SPECIAL.sub(r"\\\1", clean(text, 300)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def render(report: Report) -> str:
    """The summary of one run, ending in a newline."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"## {_MARKS[report.result]} chaoskit {escape(report.scenario)}: {report.result}"
    yield f"\nseed {report.seed}, {report.runtime} runtime, {report.duration_s:.1f} s\n"
    for finding in report.findings:
        if finding.code is not ExitCode.OK:
            yield f"- **{escape(finding.check)}**: {escape(finding.text)}"
    yield from _exploration(report) if report.points else _run(report)
    if report.exit_code:
        yield f"\n```\n{clean(report.replay).replace('`', '')}\n```"


def _exploration(report: Report) -> Iterator[str]:
    if report.points:
        points = report.points
        yield f"\n{points.found} experiments found, {points.run} run, {points.survived} survived\n"
    yield "| operation | on | points | experiments | survived |\n| --- | --- | ---: | ---: | ---: |"
    for row in report.coverage[:_ROWS]:
        yield f"| {row.op} | {escape(row.path)} | {row.points} | {row.run} | {row.survived} |"
    yield from _more(len(report.coverage))
    for failed in report.failures[:_ROWS]:
        verdicts = ", ".join(f"{v.outcome} {escape(v.id)}" for v in failed.verdicts[:10])
        yield f"- ❌ {escape('; '.join(failed.plan))}: {verdicts} ({failed.rate} times)"
    yield from _more(len(report.failures))


def _run(report: Report) -> Iterator[str]:
    yield "\n| verdict | outcome | detail |\n| --- | --- | --- |"
    worst_first = sorted(report.verdicts, key=lambda v: v.outcome == "SUCCESS")
    for verdict in worst_first[:_ROWS]:
        yield f"| {escape(verdict.id)} | {verdict.outcome} | {escape(verdict.detail)} |"
    yield from _more(len(report.verdicts))
    if report.faults:
        yield "\n| fault | where | fired |\n| --- | --- | --- |"
        for fault in report.faults[:_ROWS]:
            fired = f"{fault.t_s:.2f} s" if fault.fired and fault.t_s is not None else "**never**"
            yield f"| {fault.fault} {escape(fault.target)} | {escape(fault.trigger)} | {fired} |"
        yield from _more(len(report.faults))


def _more(count: int) -> Iterator[str]:
    if count > _ROWS:
        yield f"\n(+{count - _ROWS} more rows in report.json)"


def annotations(report: Report) -> Iterator[str]:
    """Workflow commands of GitHub Actions, one a verdict that is not SUCCESS, ten at most (the page shows no more)."""
    bad = [v for v in report.verdicts if v.outcome != "SUCCESS"]
    for verdict in bad[:10]:
        text = f"{verdict.outcome} [{clean(verdict.id)}] {clean(verdict.detail)}"
        yield f"::error title=chaoskit {report.scenario}::{text.replace('%', '%25')}"
