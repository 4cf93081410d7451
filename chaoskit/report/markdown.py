"""A Markdown summary for a CI job's page, and annotations. Text from programs is escaped; the size is bounded."""

import re
from collections.abc import Iterable, Iterator

from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Report
from chaoskit.report.clean import clean
from chaoskit.report.sentence import begun

_MARKS = {"pass": "✅", "fail": "❌", "error": "💥", "inconclusive": "❔"}
# A step's summary may hold 1 MiB on GitHub, and what other commands of the step wrote is in it as well.
_MOST_BYTES = 400_000
_ROWS = 200
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@-])")
# Addresses become links without any markup; a log line is no place for one to be followed from.
_ADDRESS = re.compile(r"(?i)(://|\bwww\.)")
_MOST_ANNOTATIONS = 10


def escape(text: str, limit: int = 300) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    escaped = _SPECIAL.sub(r"\\\1", clean(text, limit)).replace("\t", " ")
    escaped = escaped.replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")
    return _ADDRESS.sub(lambda m: f"{m[0][:-1]}\\." if m[0].endswith(".") else f"\\{m[0]}", escaped)


def render(report: Report) -> str:
    """The summary of one run, ending in a newline; below 512 KiB whatever is in it."""
    return "\n".join([*_within(_lines(report)), *_again(report)]) + "\n"


def _within(lines: Iterable[str]) -> Iterator[str]:
    room = _MOST_BYTES
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            yield "\n(cut here: the rest is in report.json)"
            return
        yield line


def _again(report: Report) -> Iterator[str]:
    if report.exit_code:
        yield f"\n```\n{clean(report.replay, 1000).replace('`', '')}\n```"


def _lines(report: Report) -> Iterator[str]:
    yield f"## {_MARKS[report.result]} chaoskit {escape(report.scenario)}: {report.result}"
    if report.sentence:
        yield f"\n**{escape(begun(report.sentence), 1000)}.**"
    yield f"\nseed {report.seed}, {escape(report.runtime)} runtime, {report.duration_s:.1f} s\n"
    bad = [f for f in report.findings if f.code is not ExitCode.OK]
    for finding in bad[:_ROWS]:
        yield f"- **{escape(finding.check)}**: {escape(finding.text)}"
    yield from _more(len(bad))
    yield from _exploration(report) if report.points else _run(report)


def _exploration(report: Report) -> Iterator[str]:
    if report.points:
        points = report.points
        yield f"\n{points.found} experiments found, {points.run} run, {points.survived} survived\n"
    yield "| operation | on | points | experiments | survived |\n| --- | --- | ---: | ---: | ---: |"
    worst_first = sorted(report.coverage, key=lambda row: row.run == row.survived)
    for row in worst_first[:_ROWS]:
        yield f"| {escape(row.op)} | {escape(row.path)} | {row.points} | {row.run} | {row.survived} |"
    yield from _more(len(report.coverage))
    yield ""
    for failed in report.failures[:_ROWS]:
        verdicts = ", ".join(f"{v.outcome} {escape(v.id)}" for v in failed.verdicts[:10])
        what = f"{escape('; '.join(failed.plan))}: {verdicts} ({escape(failed.rate)} times)"
        yield f"- ❌ {f'{escape(failed.sentence)}<br>' if failed.sentence else ''}{what}"
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
            yield f"| {escape(fault.fault)} {escape(fault.target)} | {escape(fault.trigger)} | {fired} |"
        yield from _more(len(report.faults))


def _more(count: int) -> Iterator[str]:
    if count > _ROWS:
        yield f"\n(+{count - _ROWS} more rows in report.json)"


def annotations(report: Report) -> Iterator[str]:
    """Workflow commands of GitHub Actions: the sentence, then what is bad, ten at most (the page shows no more).

    Without a bad verdict the findings are told; what is only inconclusive is a warning.
    """
    texts = list(_bad(report))
    first = [report.sentence] if texts and report.sentence else []
    level = "warning" if report.exit_code == ExitCode.INCONCLUSIVE else "error"
    title = _property(f"chaoskit {clean(report.scenario)}")
    for text in [*first, *texts][:_MOST_ANNOTATIONS]:
        yield f"::{level} title={title}::{_data(clean(text, 1000))}"


def _bad(report: Report) -> Iterator[str]:
    if report.points:
        yield from (f.sentence or "; ".join(f.plan) for f in report.failures)
    else:
        yield from (f"{v.outcome} [{v.id}] {v.detail}" for v in report.verdicts if v.outcome != "SUCCESS")
    if not report.failures and all(v.outcome == "SUCCESS" for v in report.verdicts):
        yield from (f"{f.check}: {f.text}" for f in report.findings if f.code is not ExitCode.OK)


def _data(text: str) -> str:
    """The message of a workflow command; line ends are no longer in it."""
    return text.replace("%", "%25")


def _property(text: str) -> str:
    """A property's value, where colons and commas end it."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
