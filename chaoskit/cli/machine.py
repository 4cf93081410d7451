"""`chaoskit doctor`, `chaoskit clean` and `chaoskit broker`: this machine, and what is left on it."""

import sys
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from chaoskit.cli.main import app
from chaoskit.cli.output import out
from chaoskit.model.errors import UsageError
from chaoskit.model.exit_codes import ExitCode
from chaoskit.report.clean import clean as harmless

_STATUS = {"ok": "green", "missing": "yellow", "broken": "bold red"}


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Look what works on this machine, why something does not, and what mends it.

    Exit code 0 when `chaoskit run` can work here, 3 when it cannot. What it can do without is listed all the same: the
    tap (kills inside a system call) needs Linux and its seccomp user notification, pipelines in containers need Docker.

    \b
    Examples:
      chaoskit doctor
      chaoskit doctor --json
    """
    from chaoskit.engine import doctor as engine

    findings = engine.examine()
    good, composes = engine.can_run(findings), engine.can_compose(findings)
    if as_json:
        document = {"can_run": good, "can_compose": composes, "findings": findings}
        typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return int(ExitCode.OK if good else ExitCode.ENVIRONMENT)
    table = Table("what", "status", "why", box=None, pad_edge=False, header_style="dim")
    for finding in findings:
        status = Text(finding.status, style=_STATUS[finding.status])
        table.add_row(finding.name, status, Text(harmless(finding.detail)))
    out.print(table)
    for mend in dict.fromkeys(finding.mend for finding in findings if finding.mend):
        names = ", ".join(finding.name for finding in findings if finding.mend == mend)
        out.print(f"to mend {names}: {mend}", markup=False)
    too = ", also with --runtime compose" if composes else "; with --runtime compose it cannot yet"
    out.print(
        f"`chaoskit run stateful --kills 3` can work here{too}" if good else "`chaoskit run` cannot work here yet"
    )
    return int(ExitCode.OK if good else ExitCode.ENVIRONMENT)


@app.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Remove the runs of this directory too; asks.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what a chaoskit that was killed left behind: processes, its file in this directory, its control socket.

    Only processes that chaoskit started and whose chaoskit is gone are killed; the programs of a living run are left
    alone. With --all the saved runs of this directory (.chaoskit/runs) go too.

    \b
    Examples:
      chaoskit clean --dry-run
      chaoskit clean --all --yes
    """
    from chaoskit.engine import leftovers

    done = leftovers.clean(dry_run)
    for line in done:
        out.print(harmless(line, 2000), markup=False)
    if everything:
        _remove_runs(dry_run, yes)
    elif not done:
        out.print("nothing to clean")


def _remove_runs(dry_run: bool, yes: bool) -> None:
    from chaoskit.engine import leftovers

    leftovers.check_idle()
    names = leftovers.run_names()
    what = f"{len(names)} saved run{'' if len(names) == 1 else 's'}"
    if dry_run or not names:
        out.print(f"would remove {what}" if names else "there are no saved runs in this directory")
        return
    if not yes and not sys.stdin.isatty():
        raise UsageError("--all asks before it removes saved runs, and nobody can answer here: add --yes")
    if yes or typer.confirm(f"Remove {what} of this directory?"):
        leftovers.remove_runs()
        out.print(f"removed {what}")


@app.command()
def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Listen on this port; 0 takes any.")] = 5672,
) -> int:
    """Run the embedded AMQP 0-9-1 broker by itself, in the foreground, on loopback, until Ctrl-C.

    For trying a worker against it without a pipeline. It keeps nothing: when it ends, queues and messages are gone.
    Exit code: 130 after Ctrl-C, 3 when the port is taken.

    \b
    Examples:
      chaoskit broker
      chaoskit broker --port 0
    """
    from chaoskit.engine import lone_broker

    def listening(number: int) -> None:
        address = f"{lone_broker.HOST}:{number}, user {lone_broker.USER}, password {lone_broker.PASSWORD}"
        out.print(f"broker on {address}, virtual host /; Ctrl-C stops it", markup=False)
        sys.stdout.flush()

    lone_broker.serve(port, listening)
    return int(ExitCode.INTERRUPTED)
