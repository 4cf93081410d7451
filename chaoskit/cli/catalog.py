"""`chaoskit scenarios` and `chaoskit faults`: what there is."""

import json
from typing import Annotated

import typer
from rich.table import Table

from chaoskit import bundled
from chaoskit.cli.main import app
from chaoskit.cli.output import out
from chaoskit.faults import TABLE
from chaoskit.model.triggers import KINDS

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def scenarios(as_json: AsJson = False) -> None:
    """List the bundled scenarios.

    \b
    Example:
      chaoskit scenarios
    """
    found = [bundled.find(name) for name in bundled.names()]
    if as_json:
        rows = [{"name": s.name, "summary": s.summary, "parameters": s.parameters, "target": s.target} for s in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("scenario", "summary", "target", "parameters", box=None, pad_edge=False)
    for scenario in found:
        parameters = " ".join(f"{name}={value}" for name, value in scenario.parameters.items())
        table.add_row(scenario.name, scenario.summary, ", ".join(scenario.target), parameters)
    out.print(table)


@app.command()
def faults(as_json: AsJson = False) -> None:
    """List the faults a plan can name, the triggers they take, and their options.

    \b
    Example:
      chaoskit faults
    """
    if as_json:
        typer.echo(json.dumps([_as_dict(name) for name in TABLE], indent=2))
        return
    table = Table("fault", "what it does", "triggers", "options", box=None, pad_edge=False)
    for name, fault in TABLE.items():
        triggers = " ".join(key for kind in fault.triggers for key in kind.KEYS)
        options = "; ".join(f"{o} ({option.default}): {option.summary}" for o, option in fault.options.items())
        table.add_row(f"{name} {fault.target.upper()}", fault.summary, triggers, options)
    out.print(table)
    out.print("\ntriggers of a plan (`at:`)", markup=False)
    for kind in KINDS:
        out.print(f"  {kind.example:48} {kind.summary}", markup=False)


def _as_dict(name: str) -> dict[str, object]:
    fault = TABLE[name]
    options = {o: {"default": option.default, "summary": option.summary} for o, option in fault.options.items()}
    triggers = [key for kind in fault.triggers for key in kind.KEYS]
    return {"fault": name, "summary": fault.summary, "target": fault.target, "triggers": triggers, "options": options}
