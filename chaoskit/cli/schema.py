"""`chaoskit schema`: JSON Schemas, from which editors complete and check scenario.yaml and plan.yaml."""

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from chaoskit.cli.main import app
from chaoskit.cli.output import out
from chaoskit.model.errors import UsageError


class Document(enum.StrEnum):
    """The files that have a schema."""

    SCENARIO = "scenario"
    PLAN = "plan"


@app.command()
def schema(
    document: Annotated[Document, typer.Argument(metavar="[scenario|plan]", help="Of which file.")] = Document.SCENARIO,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to FILE, not to stdout.")
    ] = None,
) -> None:
    """Print the JSON Schema (draft 2020-12) of scenario.yaml or plan.yaml.

    An editor with the YAML language server completes and checks a file whose first line names the schema:
    `# yaml-language-server: $schema=scenario.schema.json`. `chaoskit init` writes both.

    \b
    Examples:
      chaoskit schema > scenario.schema.json
      chaoskit schema plan -o plan.schema.json
    """
    text = text_of(document)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as e:
        raise UsageError(f"{output}: the schema cannot be written: {e.strerror}") from None
    out.print(f"wrote {output}", markup=False)


def text_of(document: Document) -> str:
    """The schema as indented JSON, ending in a newline."""
    from chaoskit.faults.schema import plan_schema
    from chaoskit.model.schema import scenario_schema

    made = plan_schema() if document is Document.PLAN else scenario_schema()
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
