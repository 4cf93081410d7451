"""Everything that the page shows, as plain values: verdicts, faults, files, the timeline, the map of crash points.

All text that came from a run passes through `clean`: control characters are shown as they are written in a program, and
nothing can reorder what stands around it.
"""

from collections.abc import Sequence
from typing import Any

from chaoskit.model.events import AnyEvent
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Report
from chaoskit.model.verdict import FaultRecord, Verdict
from chaoskit.report.clean import clean
from chaoskit.report.html.crash_map import crash_map
from chaoskit.report.html.file_bytes import files
from chaoskit.report.html.timeline import timeline
from chaoskit.report.sentence import begun
from chaoskit.report.wording import tell

_MOST_VERDICTS = 2000


def content(report: Report, events: Sequence[AnyEvent], control: Sequence[AnyEvent]) -> dict[str, Any]:
    """The page's data; its shape is the page's own business (assets/main.js reads it)."""
    told = {told.number: told.text for told in tell(report.faults, events, control)}
    words = [told.get(number, "") for number in range(len(report.faults))]
    # An exploration hurts nothing itself: its events are the control run's.
    shown = [] if report.points else list(report.faults)
    return {
        "result": report.result,
        "exit_code": report.exit_code,
        "scenario": clean(report.scenario),
        "sentence": clean(begun(report.sentence), 1000),
        "replay": clean(report.replay, 1000),
        "exploration": report.points is not None,
        "facts": _facts(report),
        "verdicts": [_verdict(v) for v in _worst_first(report.verdicts)],
        "verdicts_left_out": max(0, len(report.verdicts) - _MOST_VERDICTS),
        "faults": [_fault(f, text) for f, text in zip(shown, words, strict=False)],
        "findings": [
            {"check": clean(f.check, 60), "text": clean(f.text), "note": f.code is ExitCode.OK} for f in report.findings
        ],
        "files": files(events, report.faults),
        "timeline": timeline(events, report.faults, words),
        "map": crash_map(report),
    }


def _facts(report: Report) -> list[tuple[str, str]]:
    """What a person asks about a run before they believe it."""
    facts = [
        ("scenario", report.scenario),
        ("runtime", report.runtime),
        ("seed", str(report.seed)),
        ("parameters", " ".join(f"{name}={value}" for name, value in report.parameters.items())),
        ("started", report.started),
        ("took", f"{report.duration_s:.1f} s"),
        ("control run", _control(report)),
        ("restarts", ", ".join(f"{program} {n}" for program, n in report.restarts.items())),
        ("exit code", str(report.exit_code)),
        ("chaoskit", report.chaoskit),
        ("directory", report.run_dir),
    ]
    return [(name, clean(text)) for name, text in facts if text]


def _control(report: Report) -> str:
    if report.control is None:
        return "none"
    points = report.control.crash_points
    return f"{report.control.result}, {report.control.duration_s:.1f} s" + (
        f", {points} crash points" if points else ""
    )


def _worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda v: v.outcome == "SUCCESS")[:_MOST_VERDICTS]


def _verdict(verdict: Verdict) -> tuple[str, str, str]:
    return clean(verdict.id), verdict.outcome, clean(verdict.detail)


def _fault(fault: FaultRecord, words: str) -> dict[str, Any]:
    return {
        "fault": clean(fault.fault, 60),
        "target": clean(fault.target),
        "place": clean(f"{fault.when} {fault.trigger}".strip()),
        "words": words,
        "exact": fault.exact,
        "fired": fault.fired,
        "t_s": fault.t_s,
        "back_s": fault.restarted_after_s,
        "written_bytes": fault.written_bytes,
        "note": clean(fault.note),
    }
