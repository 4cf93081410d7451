"""The final report for a terminal or a plain log: what was hurt, what came of it, and what to type next."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Failed, Points, Report
from chaoskit.model.verdict import FaultRecord, Finding, Verdict
from chaoskit.report.clean import clean, counted
from chaoskit.report.sentence import begun

_STYLES = {"pass": "bold green", "fail": "bold red", "error": "bold magenta", "inconclusive": "bold yellow"}
_OUTCOMES = {"SUCCESS": "green", "FAILURE": "bold red", "MISSING": "bold red"}
_SHOWN_LINES = 8
_SHOWN_ROWS = 60


def render(report: Report) -> RenderableType:
    """Everything between the live progress and the last line."""
    return Group(*_parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    if report.points is not None:
        yield from _exploration(report)
    else:
        if report.faults:
            yield _faults(report)
        yield _verdicts(report)
    yield from (_finding(f) for f in report.findings)
    if report.result != "pass":
        yield from _tails(report)
    if report.sentence:
        yield Text(f"\n{clean(begun(report.sentence), 1000)}.", style="bold")


def _verdicts(report: Report) -> Table:
    table = Table("verdict", "outcome", "detail", box=None, pad_edge=False, header_style="dim")
    for verdict in _worst_first(report):
        outcome = Text(verdict.outcome, style=_OUTCOMES[verdict.outcome])
        table.add_row(Text(clean(verdict.id, 60)), outcome, Text(clean(verdict.detail)))
    if len(report.verdicts) > _SHOWN_ROWS:
        table.add_row(f"(+{len(report.verdicts) - _SHOWN_ROWS} more)", "", "in report.json")
    return table


def _worst_first(report: Report) -> list[Verdict]:
    """All verdicts in their order; where they are too many to show, those that are not SUCCESS come first."""
    verdicts = list(report.verdicts)
    if len(verdicts) > _SHOWN_ROWS:
        verdicts.sort(key=lambda v: v.outcome == "SUCCESS")
    return verdicts[:_SHOWN_ROWS]


def _faults(report: Report) -> Table:
    table = Table("fault", box=None, pad_edge=False, header_style="dim")
    table.add_column("where", overflow="fold")
    for name in ("when", "back after", ""):
        table.add_column(name)
    for fault in report.faults:
        what = Text(f"{clean(fault.fault, 40)} {clean(fault.target, 40)}")
        table.add_row(what, Text(_where(fault)), _when(fault), _back(fault), _note(fault))
    return table


def _where(fault: FaultRecord) -> str:
    return clean(f"{fault.when} {fault.trigger}" if fault.when else fault.trigger)


def _when(fault: FaultRecord) -> Text:
    if not fault.fired or fault.t_s is None:
        return Text("never", style="bold yellow")
    return Text(f"{fault.t_s:.2f} s" + ("" if fault.exact else " (timed)"))


def _back(fault: FaultRecord) -> str:
    return "" if fault.restarted_after_s is None else f"{fault.restarted_after_s:.2f} s"


def _note(fault: FaultRecord) -> Text:
    written = "" if fault.written_bytes is None else f"{counted(fault.written_bytes, 'byte')} written"
    return Text(clean(", ".join(part for part in (written, fault.note) if part)), style="dim")


def _finding(finding: Finding) -> Text:
    style = "dim" if finding.code is ExitCode.OK else "yellow"
    return Text(f"{'note' if finding.code is ExitCode.OK else finding.check}: {clean(finding.text)}", style=style)


def _tails(report: Report) -> Iterator[Text]:
    for program, lines in sorted(report.logs.items()):
        yield Text(f"last lines of {program} ({report.run_dir}/logs/{program}.log)", style="dim")
        yield from (Text("  " + clean(line, 200)) for line in lines[-_SHOWN_LINES:])


def _exploration(report: Report) -> Iterator[RenderableType]:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("operation", "on", "points", "experiments", "survived"):
        table.add_column(name, overflow="fold", justify="left" if name in ("operation", "on") else "right")
    for row in report.coverage:
        style = "" if row.run == row.survived else "bold red"
        table.add_row(row.op, clean(row.path, 100), str(row.points), str(row.run), str(row.survived), style=style)
    yield table
    for failure in report.failures[:_SHOWN_ROWS]:
        yield from _failure(failure)
    if len(report.failures) > _SHOWN_ROWS:
        yield Text(f"(+{len(report.failures) - _SHOWN_ROWS} more failures in report.json)")


def _failure(failure: Failed) -> Iterator[Text]:
    yield Text(f"failed {failure.rate} times: {clean('; '.join(failure.plan))}", style="bold red")
    for verdict in failure.verdicts[:_SHOWN_LINES]:
        yield Text(f"  {verdict.outcome} [{clean(verdict.id, 60)}] {clean(verdict.detail)}")
    for finding in failure.findings:
        yield Text(f"  {clean(finding)}", style="yellow")
    yield Text(f"  {failure.replay}")


def headline(report: Report) -> Text:
    """The last line of a run: result, counts, time, seed."""
    if report.points is not None:
        return _headline_of_exploration(report, report.points)
    good = sum(1 for v in report.verdicts if v.outcome == "SUCCESS")
    fired = sum(1 for f in report.faults if f.fired)
    return Text.assemble(
        (report.result.upper(), _STYLES[report.result]),
        f"  {good} of {len(report.verdicts)} verdicts SUCCESS, {fired} of {len(report.faults)} faults fired, "
        f"{report.duration_s:.1f} s, report {report.run_dir}/report.html, seed {report.seed}",
    )


def _headline_of_exploration(report: Report, points: Points) -> Text:
    merged = f", {points.merged} recoveries merged" if points.merged else ""
    return Text.assemble(
        (report.result.upper(), _STYLES[report.result]),
        f"  {points.crash_points} crash points; experiments: {points.found} found, {points.run} run, "
        f"{points.survived} survived{merged}; {report.duration_s:.1f} s, report {report.run_dir}/report.html",
    )
