"""Where the command line prints: one console for reports, one for errors, and how reports are written to files."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from chaoskit.model.errors import UsageError
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Report
from chaoskit.report import junit, markdown, terminal
from chaoskit.report.clean import clean
from chaoskit.report.html import crash_map

# A log has no width: where stdout is no terminal, no cell of a table is cut.
_LOG_WIDTH = 200


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _LOG_WIDTH
    # Names of files and programs may hold `:bug:`, which is no emoji there.
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=width, emoji=False)


out = _console(stderr=False)
err = _console(stderr=True)


def complain(message: str) -> None:
    """The one line of an error."""
    err.print(f"chaoskit: {clean(message, 2000)}", markup=False)


def show_report(report: Report, console: Console) -> None:
    """The final table, what to type next, and the last line."""
    console.print(terminal.render(report))
    if report.exit_code:
        console.print(f"again: {report.replay}", markup=False)
    console.print(terminal.headline(report))


@dataclass(frozen=True)
class Targets:
    """The files that were asked for: --junit, --summary and --report-dir."""

    junit: Path | None
    summary: Path | None
    report_dir: Path | None

    def check(self) -> None:
        """See that they can be written before anything runs, and make their folders. Raises UsageError."""
        if self.junit:
            _check_file(self.junit, "report")
        if self.summary:
            _check_file(self.summary, "summary")
        if self.report_dir:
            _check_folder(self.report_dir)

    def of_seed(self, seed: int) -> "Targets":
        """Those of one run of several, whose JUnit file is written once for all of them."""
        return Targets(None, self.summary, self.report_dir and self.report_dir / f"seed-{seed}")

    def write(self, report: Report) -> bool:
        """Write them at the end of a run, and say what cannot be written. Whether everything was."""
        writers: list[tuple[Path | None, Callable[[Path], None]]] = [
            (self.junit, lambda path: _write(path, junit.render(report))),
            (self.summary, lambda path: _append(path, markdown.render(report))),
            (self.report_dir, lambda path: _copy_run(Path(report.run_dir), path, report)),
        ]
        # Each by itself: one that cannot be written does not keep the others from it.
        written = [_attempt(partial(write, path)) for path, write in writers if path]
        return all(written)

    def write_junit(self, reports: Sequence[Report]) -> bool:
        """Write the JUnit file of several runs, as `write` does."""
        if not self.junit or not reports:
            return True
        return _attempt(partial(_write, self.junit, junit.render_runs(reports)))


def final_code(code: int, written: bool) -> int:
    """The exit code of runs: a file that could not be written counts only where nothing worse happened."""
    return code or (0 if written else int(ExitCode.USAGE))


def _attempt(write: Callable[[], None]) -> bool:
    try:
        write()
    except UsageError as e:
        complain(str(e))
        return False
    return True


def _check_file(path: Path, what: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (path.is_file() or path.is_dir()):
            # A pipe or a device: to open it can wait for somebody, or do something.
            return
        new = not os.path.lexists(path)
        path.open("ab").close()
        if new:
            # No empty report is left when there comes to be none.
            path.unlink()
    except OSError as e:
        raise UsageError(f"{path}: the {what} cannot be written: {e.strerror}") from None


def _check_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as e:
        raise UsageError(f"{path}: the report cannot be copied: {e.strerror or e}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise UsageError(f"{path}: the report cannot be written: {e.strerror}") from None


def _append(path: Path, text: str) -> None:
    # CI servers hand every step of a job the same summary file, so a summary is added, never written over.
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as e:
        raise UsageError(f"{path}: the summary cannot be written: {e.strerror}") from None


def _copy_run(run_dir: Path, target: Path, report: Report) -> None:
    if target.resolve() == run_dir.resolve():
        raise UsageError(f"--report-dir {target}: that is the directory of the run itself")
    _write(target / "junit.xml", junit.render(report))
    _write(target / "summary.md", markdown.render(report))
    for name in ("report.json", "report.html", "plan.yaml", "journal.jsonl", "logs"):
        _copy(run_dir / name, target / name)
    # The page of an exploration leads to those of its failed runs.
    for directory in {failed.directory for failed in report.failures if crash_map.link(failed.directory)}:
        for name in ("report.html", "report.json", "plan.yaml"):
            _copy(run_dir / directory / name, target / directory / name)


def _copy(source: Path, target: Path) -> None:
    try:
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    except OSError as e:
        raise UsageError(f"{target}: the report cannot be copied: {e.strerror or e}") from None


def annotate(report: Report, console: Console) -> None:
    """On GitHub Actions, an annotation for each verdict that is not SUCCESS."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in markdown.annotations(report):
            console.print(line, markup=False)
