"""Live progress of an exploration: a bar on a terminal, a line now and then elsewhere, and a line for each failure."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chaoskit.engine import explore as engine
from chaoskit.engine.tally import Record, Tally
from chaoskit.model.events import AnyEvent
from chaoskit.model.exit_codes import ExitCode
from chaoskit.report.clean import clean

_EVERY_S = 5.0


class Bar(engine.Watcher):
    """A progress bar on a terminal, a line now and then elsewhere, and a line for each failure."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("control run", total=None)
        self._said_s = 0.0

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def progress(self, text: str, passing: bool) -> None:
        if passing:
            self._progress.update(self._task, description=clean(text)[:60])
        else:
            self._console.print(clean(text), markup=False, style="dim")

    def control(self, events: Sequence[AnyEvent], found: int) -> None:
        self._console.print(f"control run: {events[-1].t_s:.2f} s, {found} experiments known", markup=False)

    def done(self, record: Record, tally: Tally, found: int) -> None:
        made = len(tally.seconds)
        self._progress.update(self._task, completed=made, total=found, description="experiments")
        if record.outcome.code is not ExitCode.OK:
            what = "failed" if record.outcome.code is ExitCode.FAILURE else "not reached"
            rate = f", {record.failed} of {record.made} times" if record.failed else ""
            self._console.print(f"  {what}{rate}: {clean(record.id)}", markup=False, style="bold red")
        elif not self._console.is_terminal and sum(tally.seconds) > self._said_s:
            self._said_s = sum(tally.seconds) + _EVERY_S
            self._console.print(f"  {made} of {found} made, {tally.survived} survived", markup=False)
