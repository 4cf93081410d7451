"""`chaoskit run` and `chaoskit replay`."""

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from chaoskit import bundled
from chaoskit.cli import completing
from chaoskit.cli.kills import Each, KillEvery, KillFor, KillMean, Probability, recurring_kills
from chaoskit.cli.main import app
from chaoskit.cli.output import Targets, annotate, err, final_code, out, show_report
from chaoskit.model.errors import UsageError
from chaoskit.model.exit_codes import ExitCode, worst
from chaoskit.model.given_broker import Broker, parse_address
from chaoskit.model.plan import Plan, dump
from chaoskit.model.run import Report
from chaoskit.model.scenario import Scalar, Scenario

if TYPE_CHECKING:
    from chaoskit.engine.backends import RuntimeName
    from chaoskit.engine.run import Request

# What fits into 64 bits and comes out as it went in: others stay text, as the programs get them.
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
# The largest number that every reader of JSON keeps exact.
_LARGEST_SEED = 2**53
Runtime = Annotated[
    str,
    typer.Option(
        help="Where programs run: local (the default wherever it can), compose, or auto: compose if it can.",
        metavar="auto|local|compose",
    ),
]
ScenarioName = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A bundled name, or the path of a scenario.yaml.",
        autocompletion=completing.scenario,
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter of the scenario.")
]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML to FILE.")]
Summary = Annotated[Path | None, typer.Option("--summary", metavar="FILE", help="Append a Markdown summary to FILE.")]
ReportDir = Annotated[
    Path | None, typer.Option("--report-dir", metavar="DIR", help="Copy report, plan, journal and logs to DIR.")
]
Json = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout, progress on stderr.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="S", min=0.1, max=1e6, help="Time limit of one run, in seconds.")
]

_REPEAT = (
    "Run with this many seeds, one after the other. The JUnit file then has a suite for each, "
    "--report-dir a folder seed-N for each, and --json is one array."
)
BrokerAt = Annotated[
    str | None,
    typer.Option(
        "--broker", metavar="HOST:PORT", help="A broker of yours for local programs; the queues used are deleted."
    ),
]


@app.command()
def run(
    scenario: ScenarioName,
    kills: Annotated[int, typer.Option(min=0, help="Random kills of the target.")] = 0,
    duplicates: Annotated[int, typer.Option(min=0, help="Random messages sent twice.")] = 0,
    kill_every: KillEvery = None,
    kill_mean: KillMean = None,
    probability: Probability = None,
    kill_for: KillFor = None,
    each: Each = False,
    plan: Annotated[Path | None, typer.Option(metavar="FILE", help="Carry out this plan.yaml instead.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=_LARGEST_SEED, help="Draw the same faults again.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help=_REPEAT)] = 1,
    settings: Settings = None,
    timeout: Timeout = None,
    runtime: Runtime = "",
    broker: BrokerAt = None,
    no_control: Annotated[bool, typer.Option("--no-control", help="Leave out the run without faults.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan (after its control run) and leave.")
    ] = False,
    shrink: Annotated[bool, typer.Option("--shrink", help="Find the smallest plan that fails, if it fails.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data of the control run too.")] = False,
    junit: Junit = None,
    summary: Summary = None,
    report_dir: ReportDir = None,
    as_json: Json = False,
) -> int:
    """Run a scenario with faults and judge it.

    First a control run without faults, which shows where kills can fall; then the run itself, with the faults that
    the seed draws (or --plan names); then the report.

    \b
    Examples:
      chaoskit run stateful --kills 3
      chaoskit run stateful --kills 20 --set NUM_CHUNKS=50 --set EXPECTED_CHUNKS=50
      chaoskit run stateful --kill-every 5s --probability 0.3
      chaoskit run stateful --plan plan.yaml --junit junit.xml
      chaoskit run stateful --kills 3 --duplicates 2 --seed 42 --json | python -m json.tool
    """
    from chaoskit.engine import run as engine

    chosen = with_broker(_scenario(scenario, settings, timeout), broker, runtime)
    recurring = recurring_kills(chosen, kill_every, kill_mean, probability, kill_for, each)
    if each and not (kills or recurring):
        raise UsageError("--each goes with --kills, --kill-every or --kill-mean")
    if plan and (kills or duplicates or recurring):
        raise UsageError(
            "--plan names all faults: leave out --kills, --kill-every and --duplicates, or put them into it"
        )
    where = choose_runtime(chosen, runtime)
    given = engine.load_plan(plan, chosen) if plan else None
    first = seed if seed is not None else given.seed if given else secrets.randbelow(2**32)
    requests = [
        engine.Request(chosen, s, kills, duplicates, _seeded(given, s), not no_control, keep, where, recurring, each)
        for s in range(first, first + repeat)
    ]
    if dry_run:
        return _dry_run(requests[0], as_json)
    targets = Targets(junit, summary, report_dir)
    targets.check()
    reports, written = _several(requests, as_json, targets) if repeat > 1 else _one(requests[0], as_json, targets)
    if shrink:
        _shrink_first(reports, err if as_json else out)
    if repeat > 1 and not as_json:
        _sum_up(reports, out)
    return final_code(worst(ExitCode(r.exit_code) for r in reports), written)


@app.command()
def replay(
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR",
            help="The directory of a run, such as .chaoskit/latest.",
            autocompletion=completing.run_directory,
        ),
    ],
    junit: Junit = None,
    summary: Summary = None,
    report_dir: ReportDir = None,
    as_json: Json = False,
) -> int:
    """Carry out the plan of a saved run again.

    \b
    Example:
      chaoskit replay .chaoskit/latest
    """
    from chaoskit.engine import run as engine
    from chaoskit.engine import rundir

    request = engine.replay_request(rundir.existing(run_dir))
    targets = Targets(junit, summary, report_dir)
    targets.check()
    (report,), written = _one(request, as_json, targets)
    return final_code(report.exit_code, written)


def _seeded(plan: Plan | None, seed: int) -> Plan | None:
    """A given plan with the seed of the run: kills that recur in it are drawn from that."""
    return msgspec.structs.replace(plan, seed=seed) if plan else None


def _one(request: "Request", as_json: bool, targets: Targets) -> tuple[list[Report], bool]:
    """One run, in a list, and whether its reports were written."""
    report = _carry_out(request, err if as_json else out)
    if as_json:
        typer.echo(report.as_json(), nl=False)
    return [report], targets.write(report)


def _several(requests: "list[Request]", as_json: bool, targets: Targets) -> tuple[list[Report], bool]:
    """Runs one after the other, and whether their reports were written."""
    reports: list[Report] = []
    written = True
    try:
        for request in requests:
            report = _carry_out(request, err if as_json else out)
            reports.append(report)
            written &= targets.of_seed(request.seed).write(report)
            if report.exit_code == ExitCode.INTERRUPTED:
                break
    finally:
        # Whatever ends them early: those that were made are there to be read.
        written &= targets.write_junit(reports)
        if as_json and reports:
            typer.echo(_array(reports))
    return reports, written


def _array(reports: list[Report]) -> str:
    documents = ",".join(report.as_json().decode() for report in reports)
    return msgspec.json.format(f"[{documents}]", indent=2)


def _carry_out(request: "Request", console: Console) -> Report:
    from chaoskit.cli.live import Live
    from chaoskit.engine import run as engine

    parameters = " ".join(f"{name}={value}" for name, value in request.scenario.parameters.items())
    console.print(
        f"chaoskit run {request.scenario.name}, {request.runtime} runtime, {parameters}, seed {request.seed}",
        markup=False,
    )
    with Live(console) as live:
        report = engine.run(request, live)
    annotate(report, console)
    show_report(report, console)
    return report


def _dry_run(request: "Request", as_json: bool) -> int:
    from chaoskit.cli.live import Live
    from chaoskit.engine import run as engine
    from chaoskit.engine import rundir

    err.print(f"chaoskit run {request.scenario.name} --dry-run, seed {request.seed}", markup=False)
    with rundir.dry_run(), Live(err) as live:
        plan = engine.make_plan(request, live)
    typer.echo(msgspec.json.encode(plan).decode() if as_json else dump(plan), nl=as_json)
    return 0


def _shrink_first(reports: list[Report], console: Console) -> None:
    """Shrink the first run that failed, if there is one; the report and the exit code stay those of the run."""
    from chaoskit.cli.shrink import shrink_and_show
    from chaoskit.engine import rundir

    failed = next((r for r in reports if r.exit_code == ExitCode.FAILURE), None)
    if failed is not None:
        shrink_and_show(rundir.existing(Path(failed.run_dir)), 60.0, console)


def _sum_up(reports: list[Report], console: Console) -> None:
    bad = [r for r in reports if r.exit_code]
    console.print(
        f"{len(reports) - len(bad)} of {len(reports)} runs passed, seeds {reports[0].seed} to {reports[-1].seed}"
    )
    for report in bad:
        console.print(f"  seed {report.seed}: {report.result}, again: {report.replay}", markup=False)


def choose_runtime(scenario: Scenario, wanted: str) -> "RuntimeName":
    """The runtime that `--runtime` means for a scenario; says why where that was left to chaoskit."""
    from chaoskit.engine import wiring

    chosen, why = wiring.runtime_for(scenario, wanted)
    if why:
        err.print(f"{chosen} runtime: {why}", markup=False)
    return chosen


def _scenario(name: str, settings: list[str] | None, timeout: float | None) -> Scenario:
    scenario = bundled.find(name).with_parameters(parse_settings(settings or []))
    return scenario if timeout is None else msgspec.structs.replace(scenario, timeout_s=timeout)


def with_broker(scenario: Scenario, address: str | None, runtime: str) -> Scenario:
    """The scenario with the broker that `--broker` names. Raises UsageError."""
    if address is None:
        return scenario
    if not scenario.broker:
        raise UsageError(f"--broker: {scenario.name} needs none (`broker: false`)")
    if runtime == "compose":
        raise UsageError("--broker is for local programs; on Compose the broker is the one of the Compose file")
    return msgspec.structs.replace(scenario, broker=parse_address(address, scenario.given_broker or Broker()))


def parse_settings(settings: list[str]) -> dict[str, Scalar]:
    """`NAME=VALUE` pairs; whole numbers become numbers. Raises UsageError."""
    found: dict[str, Scalar] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting}: expected NAME=VALUE")
        found[name] = int(value) if _WHOLE_NUMBER.fullmatch(value) else _sendable(name, value)
    return found


def _sendable(name: str, value: str) -> str:
    # Bytes of the command line that are no UTF-8 arrive as lone surrogates, which no journal can hold.
    if not value.isprintable():
        raise UsageError(f"--set {name}: the value has characters that cannot be printed")
    return value
