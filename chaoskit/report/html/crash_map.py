"""The map of crash points of an exploration: files by operations, what became of each point, and each failure."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from chaoskit.model.run import Coverage, Failed, Report
from chaoskit.report.clean import clean
from chaoskit.report.sentence import begun, worst_of

_MOST_SPOTS = 5000
_MOST_FAILURES = 500
_ORDER = ("create", "mkdir", "write", "fsync", "rename", "truncate", "unlink", "send", "message")
_RUN_DIRECTORY = re.compile(r"experiments/[A-Za-z0-9_-]+")


def crash_map(report: Report) -> dict[str, Any] | None:
    """The map; None for a run that is no exploration. What is left out for its size is counted."""
    if report.points is None:
        return None
    ops = sorted({row.op for row in report.coverage}, key=lambda op: (_rank(op), op))
    paths = sorted({row.path for row in report.coverage})
    cells = {(row.path, row.op): row for row in report.coverage}
    room = _MOST_SPOTS
    rows = []
    for path in paths:
        row: list[dict[str, Any] | None] = []
        for op in ops:
            cell = cells.get((path, op))
            row.append(None if cell is None else _cell(cell, room))
            room -= len(cell.spots) if cell else 0
        rows.append({"path": clean(path, 120) if path != "." else "the directory itself", "cells": row})
    return {
        "ops": [clean(op, 40) for op in ops],
        "rows": rows,
        "worst": clean(worst_of(report.failures).spot, 160) if report.failures else "",
        "figures": [report.points.found, report.points.run, report.points.survived, report.points.merged],
        "failures": [_failure(f) for f in report.failures[:_MOST_FAILURES]],
        "failures_left_out": max(0, len(report.failures) - _MOST_FAILURES),
        "spots_left_out": sum(len(row.spots) for row in report.coverage) - _shown(rows),
    }


def _shown(rows: Sequence[dict[str, Any]]) -> int:
    return sum(len(cell["spots"]) for row in rows for cell in row["cells"] if cell)


def _rank(op: str) -> int:
    return _ORDER.index(op) if op in _ORDER else len(_ORDER)


def _cell(row: Coverage, room: int) -> dict[str, Any]:
    # What was not survived is shown whatever room there is.
    spots = row.spots if len(row.spots) <= room else [s for s in row.spots if s.survived < s.run]
    return {
        "points": row.points,
        "run": row.run,
        "survived": row.survived,
        "spots": [(clean(s.name, 160), s.run, s.survived) for s in spots],
    }


def _failure(failed: Failed) -> dict[str, Any]:
    return {
        "spot": clean(failed.spot, 160),
        "plan": [clean(step) for step in failed.plan],
        "verdicts": [(clean(v.id), v.outcome, clean(v.detail)) for v in failed.verdicts[:20]],
        "findings": [clean(text) for text in failed.findings],
        "rate": clean(failed.rate),
        "replay": clean(failed.replay, 1000),
        "sentence": clean(begun(failed.sentence), 1000),
        "link": link(failed.directory),
    }


def link(directory: str) -> str:
    """The report of a failed run, relative to the page; '' where there is none, or the path is none of ours."""
    return str(PurePosixPath(directory, "report.html")) if _RUN_DIRECTORY.fullmatch(directory) else ""
