"""What a test report says of a run: a short message for the failure, and a section with everything around it."""

import io
import shlex
from pathlib import Path

import msgspec
from rich.console import Console

from chaoskit.model.run import Report
from chaoskit.report import terminal
from chaoskit.report.clean import clean

_WIDTH = 120
_REPLAY = "chaoskit replay "


def at_home(report: Report, directory: Path) -> Report:
    """The same report with absolute paths, so that its commands can be pasted anywhere."""
    failures = tuple(msgspec.structs.replace(f, replay=_absolute(f.replay, directory)) for f in report.failures)
    run_dir = str(directory / report.run_dir)
    replay = _absolute(report.replay, directory)
    return msgspec.structs.replace(report, run_dir=run_dir, replay=replay, failures=failures)


def _absolute(command: str, directory: Path) -> str:
    path = command.removeprefix(_REPLAY)
    return _REPLAY + shlex.quote(str(directory / path)) if path != command else command


def message(report: Report) -> str:
    """Why the test failed, in a few lines: the sentence, the findings, and what to type to see it again."""
    lines = [_sentence(report), *(f"{f.check}: {f.text}" for f in report.findings if f.code)]
    again = [f"again: {report.replay}"] if report.exit_code else []
    return "\n".join([*(clean(line) for line in dict.fromkeys(lines)), *again])


def _sentence(report: Report) -> str:
    return report.sentence or terminal.headline(report).plain


def title(number: int, report: Report) -> str:
    """The heading of the section of the `number`th run of a test, counted from 1."""
    return f"chaoskit {'explore' if report.points else 'run'} {number}: {report.scenario}, {report.result}"


def section(report: Report) -> str:
    """The tables that the command line prints, and where everything is."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None, highlight=False, soft_wrap=True, emoji=False)
    console.print(terminal.render(report))
    console.print(terminal.headline(report))
    return text.getvalue() + f"again: {report.replay}\n"
