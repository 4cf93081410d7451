"""The program `chaoskit`: the table of commands, and what becomes of errors.

An error of the user or of the environment is one line and its exit code; anything else keeps its traceback.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, Never

import typer

import chaoskit
from chaoskit.cli.output import complain
from chaoskit.model.errors import ChaoskitError
from chaoskit.model.exit_codes import MEANINGS, ExitCode

# Typer raises the errors of click, or in later versions those of its own copy of it: whichever BadParameter is one of.
_BadUsage: type[Exception] = typer.BadParameter.__bases__[0]

_EXIT_CODES = "\n".join(f"{int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())
HELP = f"""Chaos testing for message pipelines.

chaoskit brings a pipeline up, hurts it at exact points (inside a write, at a message, at a log line), starts again
what it hurt, and turns the verifier's SUCCESS and FAILURE lines into a report and an exit code.

\b
Start here:
  chaoskit run stateful --kills 3      kill a worker three times in the middle of its writes
  chaoskit scenarios                   the pipelines that travel with chaoskit
  chaoskit doctor                      what works on this machine

\b
Exit codes:
{_EXIT_CODES}
"""


def _help_width() -> int:
    """As wide as the terminal, within reason; a page that goes to a file or a pager is not squeezed into 80 columns."""
    return max(80, min(120, shutil.get_terminal_size((120, 24)).columns))


app = typer.Typer(
    name="chaoskit",
    help=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": _help_width()},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chaoskit {chaoskit.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.USAGE)


def _register() -> None:
    # Each module adds its commands to `app` when it is imported; the order is the order of the help page.
    from chaoskit.cli import run, explore, shrink, saved, by_hand, inspecting, catalog, init, schema, machine  # noqa: F401, I001


def _interrupt(*_: object) -> Never:
    raise KeyboardInterrupt


def _on_interrupts(handler: Callable[..., object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def main() -> None:
    """Parse, carry out, and end the process with one of the documented exit codes."""
    try:
        _on_interrupts(_interrupt)
        _end(_run())
    except KeyboardInterrupt:
        _fail("interrupted", ExitCode.INTERRUPTED)


def _run() -> int:
    if "_CHAOSKIT_COMPLETE" in os.environ:
        # A shell takes each line of the answer for a word to offer, so none may be broken to fit a terminal.
        os.environ["COLUMNS"] = "1000"
    try:
        _register()
        code = app(prog_name="chaoskit", standalone_mode=False)
        if code == ExitCode.INTERRUPTED:
            # The library turns a KeyboardInterrupt into this code without a word.
            _fail("interrupted", ExitCode.INTERRUPTED)
        return code if isinstance(code, int) else 0
    except ChaoskitError as e:
        _fail(str(e), e.exit_code)
    except _BadUsage as e:
        _fail(_with_hint(e), ExitCode.USAGE)
    except typer.Abort:
        _fail("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output went away (`| head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILURE)
    except OSError as e:
        # A disk that is full, a limit that is reached: nothing of ours to mend, so one line says what it was.
        _fail(f"{e.filename or 'this machine'}: {e.strerror or e}", ExitCode.ENVIRONMENT)


def _with_hint(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "chaoskit"
    return f"{error.format_message()} ({command} --help shows how)"


def _fail(message: str, code: ExitCode) -> Never:
    _on_interrupts(signal.SIG_IGN)
    complain(message)
    _end(int(code))


def _end(code: int) -> Never:
    # It is over: an interrupt now could only spoil the last lines and the exit code.
    _on_interrupts(signal.SIG_IGN)
    sys.exit(code)
