"""`chaoskit up`, `down`, `ps`, `logs`, `kill`, `restart`: a pipeline by hand, with the habits of `docker compose`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from chaoskit import bundled
from chaoskit.cli import completing
from chaoskit.cli.log_lines import LogPainter
from chaoskit.cli.main import app
from chaoskit.cli.output import err, out
from chaoskit.cli.run import BrokerAt, Runtime, ScenarioName, Settings, choose_runtime, parse_settings, with_broker
from chaoskit.engine import background, control, log_tail, rundir, upfile
from chaoskit.engine.rundir import RunDir
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, RunStarted
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.scenario import Scenario, start_order
from chaoskit.report.clean import clean

if TYPE_CHECKING:
    from chaoskit.engine.backends import RuntimeName

ProgramName = Annotated[
    str,
    typer.Argument(
        metavar="PROGRAM",
        help="A program of the pipeline, such as worker-2.",
        autocompletion=completing.program,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
_VERB_S = 30.0
_STATES = {"up": "green", "finished": "dim", "dead": "bold red", "restarting": "yellow", "waiting": "dim"}
ReplyT = TypeVar("ReplyT", control.Listing, control.Done)


@app.command()
def up(
    scenario: ScenarioName,
    detached: Annotated[bool, typer.Option("-d", "--detach", help="Return when it is ready; it stays up.")] = False,
    settings: Settings = None,
    runtime: Runtime = "",
    broker: BrokerAt = None,
) -> int:
    """Bring a pipeline up, without faults, until Ctrl-C or `chaoskit down`.

    Broker and programs run on this machine, or as containers (--runtime compose); one pipeline a directory. The
    programs' lines are shown as they come. With -d the command returns when every consumer consumes, and the pipeline
    stays up in the background.

    Programs that exit by themselves with an error are started again; one that you killed stays dead until you restart
    it. Exit code: 130 after Ctrl-C, 0 after `chaoskit down`.

    \b
    Examples:
      chaoskit up stateful
      chaoskit up -d stateful --set NUM_CHUNKS=50 --set EXPECTED_CHUNKS=50
      chaoskit logs -f worker-2
    """
    chosen = with_broker(bundled.find(scenario).with_parameters(parse_settings(settings or [])), broker, runtime)
    where = choose_runtime(chosen, runtime)
    if detached:
        return _up_in_background(chosen, where)
    from chaoskit.engine import by_hand

    ended = by_hand.up(chosen, _Foreground(chosen), where)
    return int(ExitCode.OK if ended == "down" else ExitCode.INTERRUPTED)


class _Foreground:
    """Shows the lines of a pipeline that is up in this terminal."""

    def __init__(self, scenario: Scenario) -> None:
        self._painter = LogPainter(out, start_order(scenario.programs))

    def event(self, event: AnyEvent) -> None:
        self._painter.draw(event)

    def note(self, text: str) -> None:
        err.print(f"chaoskit: {clean(text)}", markup=False, style="yellow")

    def progress(self, text: str, passing: bool) -> None:
        if not passing:
            err.print(f"chaoskit: {clean(text)}", markup=False, style="dim")

    def ready(self, run_dir: RunDir) -> None:
        err.print(f"chaoskit: the pipeline is ready, run directory {run_dir}; Ctrl-C stops it", markup=False)


class _Background:
    """Tells the terminal that waits when the pipeline is ready, and notes on the way."""

    def __init__(self, foreground: background.Foreground) -> None:
        self._foreground = foreground

    def event(self, event: AnyEvent) -> None:
        pass

    def note(self, text: str) -> None:
        self._foreground.say(background.Note(text))

    def progress(self, text: str, passing: bool) -> None:
        if not passing:
            self._foreground.say(background.Note(text))

    def ready(self, run_dir: RunDir) -> None:
        self._foreground.leave(run_dir.path / "chaoskit.log")


def _up_in_background(scenario: Scenario, runtime: "RuntimeName") -> int:
    from chaoskit.engine import by_hand

    def work(foreground: background.Foreground) -> int:
        by_hand.up(scenario, _Background(foreground), runtime)
        return 0

    pid = background.start(work, lambda text: err.print(f"chaoskit: {clean(text)}", markup=False, style="yellow"))
    out.print(f"{scenario.name} is up (pid {pid}): `chaoskit ps`, `chaoskit logs -f`, `chaoskit down`", markup=False)
    return 0


def _ask(request: control.Request, kind: type[ReplyT]) -> ReplyT:
    reply = control.ask(upfile.require().socket, request, _VERB_S)
    assert isinstance(reply, kind)
    return reply


@app.command()
def down() -> None:
    """Stop the pipeline of this directory: SIGTERM, then SIGKILL for what does not stop.

    Its run directory stays: `chaoskit check-metadata`, `chaoskit logs` and `chaoskit judge` read it. When nothing is up
    there is nothing to do, and that is no error.

    \b
    Example:
      chaoskit down
    """
    found = upfile.look()
    if found is None:
        out.print("no pipeline is up in this directory", markup=False)
        return
    if not found.alive:
        upfile.require()
    _ask(control.Down(), control.Done)
    name = found.up.scenario if found.up else "the pipeline"
    out.print(f"{name} is down", markup=False)


@app.command()
def ps(as_json: AsJson = False) -> None:
    """List the programs of the pipeline that is up, and its queues.

    A life counts the starts of a program from 0; since is when this life began or ended; exit is how it ended: its exit
    code, or minus the signal that killed it.

    \b
    Examples:
      chaoskit ps
      chaoskit ps --json
    """
    listing = _ask(control.Ps(), control.Listing)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(listing)).decode())
        return
    out.print(_program_table(listing))
    if listing.queues:
        out.print()
        out.print(_queue_table(listing))
    if not listing.ready:
        out.print("the pipeline is still coming up", style="yellow")


def _program_table(listing: control.Listing) -> Table:
    table = Table("program", "state", "life", "pid", "since", "exit", box=None, pad_edge=False, header_style="dim")
    for row in listing.programs:
        since = "" if row.for_s is None else f"{_span(row.for_s)} ago"
        state = Text(row.state, style=_STATES.get(row.state, ""))
        table.add_row(row.program, state, _cell(row.life), _cell(row.pid), since, _cell(row.exit_code))
    return table


def _queue_table(listing: control.Listing) -> Table:
    table = Table("queue", box=None, pad_edge=False, header_style="dim")
    for name in ("ready", "unacknowledged", "consumers"):
        table.add_column(name, justify="right")
    for queue in listing.queues:
        table.add_row(clean(queue.queue, 80), str(queue.ready), str(queue.unacked), str(queue.consumers))
    return table


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@app.command()
def logs(
    programs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROGRAM]...",
            help="Only these programs; all when none is named.",
            autocompletion=completing.program,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new lines until it goes down.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, metavar="N", help="Only the last N lines of each program.")
    ] = None,
) -> None:
    """Show what the programs said: of the pipeline that is up, else of the latest run.

    Lines come in the order in which they were said. Control characters are shown, not sent to the terminal; the bytes
    as they were said are in logs/PROGRAM.log of the run directory.

    \b
    Examples:
      chaoskit logs
      chaoskit logs -f worker-2
      chaoskit logs --tail 20 worker-2 worker-3
    """
    current = upfile.current()
    run_dir = current.run_dir if current else rundir.latest()
    wanted = frozenset(programs or ())
    journal = log_tail.JournalTail(_journal_of(run_dir))
    events, over = log_tail.history(journal, wanted, tail)
    painter = LogPainter(out, _known_programs(events, wanted, run_dir))
    for event in events:
        painter.draw(event)
    if follow and not over:
        for event in log_tail.follow(journal, wanted, lambda: upfile.current() == current):
            painter.draw(event)


def _journal_of(run_dir: RunDir) -> Path:
    return run_dir.journal if run_dir.journal.is_file() else run_dir.control.journal


def _known_programs(events: list[AnyEvent], wanted: frozenset[str], run_dir: RunDir) -> list[str]:
    """The programs to make room for. Raises UsageError for one that the pipeline does not have."""
    started = events[0] if events else None
    if not isinstance(started, RunStarted):
        raise UsageError(f"{run_dir}: the journal does not begin with a run")
    known = start_order(started.scenario.programs)
    for name in sorted(wanted - set(known)):
        raise UsageError(f"there is no program {name!r} (programs: {', '.join(known)})")
    return [name for name in known if not wanted or name in wanted]


@app.command()
def kill(program: ProgramName) -> None:
    """SIGKILL a program of the pipeline that is up. It stays dead until `chaoskit restart`.

    \b
    Examples:
      chaoskit kill worker-2
      chaoskit restart worker-2
    """
    out.print(clean(_ask(control.Kill(program), control.Done).text), markup=False)


@app.command()
def restart(program: ProgramName) -> None:
    """Start a dead program of the pipeline that is up; stop (SIGTERM) and start a living one.

    \b
    Example:
      chaoskit restart worker-2
    """
    out.print(clean(_ask(control.Restart(program), control.Done).text), markup=False)
