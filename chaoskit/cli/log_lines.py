"""Log lines as `docker compose` users know them: the program in a colour of its own, a bar, the text."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from chaoskit.model.events import AnyEvent, LogLine, LogsCut, ProgramExited
from chaoskit.report.clean import clean

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")
_LINE_CHARACTERS = 4096


class LogPainter:
    """Draws events of `programs` on `console`; other events are not for it."""

    def __init__(self, console: Console, programs: Iterable[str]) -> None:
        names = list(programs)
        self._console = console
        self._width = max(map(len, names), default=0)
        self._styles = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}

    def draw(self, event: AnyEvent) -> None:
        """One line for a log line and for the end of a life; nothing for anything else."""
        if isinstance(event, LogLine):
            self._line(event.program, Text(clean(event.text, _LINE_CHARACTERS)))
        elif isinstance(event, ProgramExited) and not event.stopping:
            self._line(event.program, Text(_how_it_ended(event), style="dim"))
        elif isinstance(event, LogsCut):
            self._line(event.program, Text(f"(later lines are only in logs/{event.program}.log)", style="dim"))

    def _line(self, program: str, text: Text) -> None:
        prefix = Text(f"{program:<{self._width}}  | ", style=self._styles.get(program, ""))
        self._console.print(prefix + text)


def _how_it_ended(event: ProgramExited) -> str:
    if event.code >= 0:
        return f"(exited with code {event.code})"
    return f"({'was killed' if event.hurt else 'died'} by signal {-event.code})"
