"""`chaoskit explore`."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from chaoskit import bundled
from chaoskit.cli import completing
from chaoskit.cli.main import app
from chaoskit.cli.output import Targets, annotate, err, final_code, out, show_report
from chaoskit.cli.run import (
    BrokerAt,
    Json,
    Junit,
    ReportDir,
    Runtime,
    ScenarioName,
    Settings,
    Summary,
    choose_runtime,
    parse_settings,
    with_broker,
)
from chaoskit.model.errors import UsageError
from chaoskit.planning.experiments import DEFAULT_FAULTS, FAULTS

if TYPE_CHECKING:
    from chaoskit.engine.explore import Wish


@app.command()
def explore(
    scenario: ScenarioName,
    faults: Annotated[
        str,
        typer.Option(
            metavar="LIST", help=f"Comma-separated: {', '.join(FAULTS)}.", autocompletion=completing.fault_list
        ),
    ] = ",".join(DEFAULT_FAULTS),
    depth: Annotated[int, typer.Option(min=1, max=3, help="2: also crashes during the recovery from each crash.")] = 1,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="All of it again with every message doubled, at once and late.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Experiments at a time (default: cores, twice as many on Compose)."),
    ] = None,
    max_failures: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after so many failures.")] = None,
    budget: Annotated[float | None, typer.Option(min=1, metavar="S", help="Stop after so many seconds.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only points whose name matches this glob.")
    ] = None,
    settings: Settings = None,
    runtime: Runtime = "",
    broker: BrokerAt = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many experiments and how long, and leave.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last exploration of this directory.")
    ] = False,
    junit: Junit = None,
    summary: Summary = None,
    report_dir: ReportDir = None,
    as_json: Json = False,
) -> int:
    """Visit every crash point of a scenario, once for each position and fault.

    A control run names the points; then there is one run for each: before, inside (first byte, middle, last byte but
    one) and after every write, send, fsync, rename... A failure is made again before it is reported, and leaves a run
    directory and a command to replay it.

    \b
    Examples:
      chaoskit explore stateful
      chaoskit explore stateful --depth 2 --faults kill
      chaoskit explore stateful --faults kill,power-loss,enospc,eio,eintr,short-write --duplicates
      chaoskit explore partition-writes --only 'write:partitions/*'
    """
    from chaoskit.cli.explore_bar import Bar
    from chaoskit.engine import explore as engine

    wish = _wish(scenario, settings, faults, depth, duplicates, max_failures, budget, only, resume)
    wish = _placed(wish, broker, runtime, jobs)
    console = err if as_json else out
    _announce(wish, console)
    if dry_run:
        return _dry_run(wish, as_json)
    targets = Targets(junit, summary, report_dir)
    targets.check()
    with Bar(console) as bar:
        report = engine.explore(wish, bar)
    annotate(report, console)
    if as_json:
        typer.echo(report.as_json(), nl=False)
    show_report(report, console)
    return final_code(report.exit_code, targets.write(report))


def _placed(wish: "Wish", broker: str | None, runtime: str, jobs: int | None) -> "Wish":
    """Where it is explored, and how many experiments at a time."""
    from chaoskit.engine import wiring

    chosen = with_broker(wish.scenario, broker, runtime)
    where = choose_runtime(chosen, runtime)
    # Experiments side by side would share the queues of a broker of the user's.
    alone = chosen.given_broker is not None and where == "local"
    at_a_time = 1 if alone else jobs or wiring.default_jobs(where)
    return dataclasses.replace(wish, scenario=chosen, runtime=where, jobs=at_a_time)


def _wish(
    name: str,
    settings: list[str] | None,
    faults: str,
    depth: int,
    duplicates: bool,
    max_failures: int | None,
    budget: float | None,
    only: str | None,
    resume: bool,
) -> "Wish":
    from chaoskit.engine import explore as engine
    from chaoskit.engine import rundir

    found = bundled.find(name)
    chosen = found.with_parameters({**found.explore, **parse_settings(settings or [])})
    wanted = tuple(dict.fromkeys(f.strip() for f in faults.split(",") if f.strip()))
    for fault in wanted:
        if fault not in FAULTS:
            raise UsageError(f"--faults {fault}: explore has {', '.join(FAULTS)}")
    if not wanted:
        raise UsageError("--faults is empty: name at least one, such as kill")
    wish = engine.Wish(chosen, wanted, depth, duplicates, max_failures=max_failures, budget_s=budget, only=only)
    return dataclasses.replace(wish, resume=rundir.latest_of(f"explore-{chosen.name}")) if resume else wish


def _announce(wish: "Wish", console: Console) -> None:
    parameters = " ".join(f"{name}={value}" for name, value in wish.scenario.parameters.items())
    smaller = " (the scenario's for exploring; --set changes them)" if wish.scenario.explore else ""
    console.print(f"chaoskit explore {wish.scenario.name}, {', '.join(wish.faults)}, depth {wish.depth}", markup=False)
    console.print(f"parameters {parameters}{smaller}, {wish.jobs} at a time", markup=False)


def _dry_run(wish: "Wish", as_json: bool) -> int:
    from chaoskit.engine import explore as engine
    from chaoskit.engine import rundir

    with rundir.dry_run():
        experiments, seconds = engine.estimate(wish, engine.Watcher())
    if as_json:
        typer.echo(json.dumps({"experiments": experiments, "estimated_s": round(seconds, 1)}))
    else:
        typer.echo(f"{experiments} experiments at the points of the control run, about {seconds:.0f} s")
        typer.echo("what recoveries bring, and --depth 2, comes on top and is known only while exploring")
    return 0
