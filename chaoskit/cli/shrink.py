"""`chaoskit shrink`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from chaoskit.cli import completing
from chaoskit.cli.main import app
from chaoskit.cli.output import out
from chaoskit.model.plan import dump

if TYPE_CHECKING:
    from chaoskit.engine.rundir import RunDir


@app.command()
def shrink(
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR", help="The directory of a run that failed.", autocompletion=completing.run_directory
        ),
    ],
    budget: Annotated[float, typer.Option(min=1, metavar="S", help="Stop searching after so many seconds.")] = 120.0,
) -> int:
    """Find the smallest plan that still fails: fewer steps first, then the simplest trigger.

    \b
    Example:
      chaoskit shrink .chaoskit/latest
    """
    from chaoskit.engine import rundir

    shrink_and_show(rundir.existing(run_dir), budget, out)
    return 0


def shrink_and_show(failing: "RunDir", budget_s: float, console: Console) -> None:
    """Shrink a failing run, say each step, and end with the plan and the command that replays it."""
    from chaoskit.engine import shrinking

    found = shrinking.shrink(
        failing, budget_s, lambda plan: console.print(f"  {_steps(len(plan.steps))} still fail", markup=False)
    )
    limit = " (the time was up: there may be a smaller one)" if found.out_of_time else ""
    console.print(f"{_steps(len(found.before.steps))} shrunk to {len(found.plan.steps)} in {found.runs} runs{limit}:")
    console.print(dump(found.plan).rstrip(), markup=False)
    console.print(f"again: chaoskit replay {found.run_dir}", markup=False)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
