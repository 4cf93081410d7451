"""`chaoskit report` and `chaoskit judge`: a saved run drawn or judged again, without running anything."""

import contextlib
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from chaoskit.cli import completing
from chaoskit.cli.main import app
from chaoskit.cli.output import Targets, final_code, out, show_report
from chaoskit.cli.run import Json, Junit, ReportDir, Summary
from chaoskit.model import run as runs
from chaoskit.model.errors import UsageError
from chaoskit.model.run import Report

RunDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_DIR",
        help="The directory of a run, such as .chaoskit/latest.",
        autocompletion=completing.run_directory,
    ),
]


@app.command()
def report(
    run_dir: RunDirectory,
    junit: Junit = None,
    summary: Summary = None,
    report_dir: ReportDir = None,
    as_json: Json = False,
) -> int:
    """Draw the report of a saved run again, as it was judged then; also its report.html.

    \b
    Example:
      chaoskit report .chaoskit/latest --junit junit.xml
    """
    path = run_dir / "report.json"
    try:
        saved = runs.from_json(path.read_bytes())
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}: `chaoskit judge {run_dir}` makes it from the journal") from None
    except (msgspec.DecodeError, ValueError) as e:
        raise UsageError(f"{path} is no report of chaoskit: {e}") from None
    _draw(run_dir, saved)
    return final_code(0, _show(saved, as_json, Targets(junit, summary, report_dir)))


@app.command()
def judge(
    run_dir: RunDirectory,
    junit: Junit = None,
    summary: Summary = None,
    report_dir: ReportDir = None,
    as_json: Json = False,
) -> int:
    """Judge a saved run again from its journal, write report.json, and end with its exit code.

    \b
    Example:
      chaoskit judge .chaoskit/latest
    """
    from chaoskit.engine import assess, drawing, rundir

    directory = rundir.existing(run_dir)
    if directory.is_exploration:
        raise UsageError(f"{run_dir} is an exploration, judged while it was made: `chaoskit report {run_dir}` draws it")
    made = assess.assess(directory)
    drawing.save(directory, made)
    return final_code(made.exit_code, _show(made, as_json, Targets(junit, summary, report_dir)))


def _draw(run_dir: Path, saved: Report) -> None:
    """Draw report.html again. A directory that cannot be written to, or has no journal, keeps what it has."""
    from chaoskit.engine import drawing
    from chaoskit.engine.rundir import RunDir

    with contextlib.suppress(OSError):
        drawing.draw(RunDir(run_dir.resolve()), saved)


def _show(made: Report, as_json: bool, targets: Targets) -> bool:
    """Show it, and write the files that were asked for. Whether all of them were written."""
    if as_json:
        typer.echo(made.as_json(), nl=False)
    else:
        show_report(made, out)
    return targets.write(made)
