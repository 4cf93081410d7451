"""`chaoskit init`: a first scenario.yaml, from a Compose file or from nothing."""

import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from chaoskit.cli.asking import ask
from chaoskit.cli.main import app
from chaoskit.cli.output import err, out
from chaoskit.cli.schema import Document, text_of
from chaoskit.engine.drafting import Draft
from chaoskit.model import scenario as scenarios
from chaoskit.model import sources
from chaoskit.model.errors import UsageError
from chaoskit.model.scenario import Restart

_COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
Paths = list[Path] | None
Words = list[str] | None


@app.command()
def init(
    origin: Annotated[
        Paths, typer.Option("--from", metavar="FILE", help="A Compose file; again for files that override it.")
    ] = None,
    program: Annotated[
        Words, typer.Option(metavar="NAME=COMMAND", help="A program of this machine, without --from.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The scenario's name (default: the folder's).")] = None,
    target: Annotated[str | None, typer.Option(metavar="PROGRAM", help="Who is hurt.")] = None,
    verifier: Annotated[str | None, typer.Option(metavar="PROGRAM", help="Who prints the verdicts.")] = None,
    verify: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="A command that judges when all is at rest, by its exit code.")
    ] = None,
    success: Annotated[str | None, typer.Option(metavar="REGEX", help="A line that says SUCCESS.")] = None,
    failure: Annotated[str | None, typer.Option(metavar="REGEX", help="A line that says FAILURE.")] = None,
    expect: Annotated[
        str | None, typer.Option(metavar="IDS", help="Ids with commas between, how many, or the parameter that says.")
    ] = None,
    broker: Annotated[str | None, typer.Option(metavar="SERVICE", help="The service that is the broker.")] = None,
    no_broker: Annotated[bool, typer.Option("--no-broker", help="The programs need none.")] = False,
    restart: Annotated[
        str | None, typer.Option(metavar="chaoskit|engine|none", help="Who starts a killed program again.")
    ] = None,
    profile: Annotated[Words, typer.Option(help="A profile of the Compose file; may be repeated.")] = None,
    env_file: Annotated[Paths, typer.Option(metavar="FILE", help="Variables of the Compose file.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to.")] = Path("scenario.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a first scenario.yaml, and the schema that editors complete it from.

    With --from it guesses from a Compose file: which services are programs, who is hurt, who judges, where the data is.
    On a terminal it asks, with its guess as the default; elsewhere it never asks, and what it cannot know stays empty
    in the file, marked FILL IN.

    \b
    Examples:
      chaoskit init --from docker-compose.yaml
      chaoskit init --from docker-compose.yaml --target worker --verifier checker --expect 20 -o chaos/scenario.yaml
      chaoskit init --program worker='python worker.py' --no-broker --verify 'python check.py {data}'
    """
    _refuse_existing(output, force)
    _check(origin, program, profile, env_file, expect)
    asking = sys.stdin.isatty() and sys.stdout.isatty()
    files = origin or (_found_here() if asking and not program else [])
    title = name or _default_name(output)
    if files:
        draft = _from_compose(title, files, output, profile or [], env_file or [], (target, verifier, broker))
    else:
        draft = _from_nothing(title, program or [], no_broker)
    draft = _with_options(draft, target, verifier, verify, success, failure, restart)
    draft = replace(draft, broker=draft.broker and not no_broker)
    draft = _expecting(draft, expect)
    if asking:
        given = {"name": name, "target": target, "verifier": verifier or verify, "expect": expect, "success": success}
        draft = ask(draft, frozenset(option for option, value in given.items() if value is not None))
    _write(draft, output, force)


def _check(origin: Paths, program: Words, profile: Words, env_file: Paths, expect: str | None) -> None:
    """Raises UsageError for options that would be passed over in silence."""
    if origin and program:
        raise UsageError("--program is for programs of this machine: a Compose file (--from) has its own")
    if not origin and (profile or env_file) and program:
        raise UsageError("--profile and --env-file belong to a Compose file (--from)")
    if expect is not None and re.fullmatch(r"-\d+", expect.strip()):
        raise UsageError(f"--expect {expect}: as many as 1, or more, or ids")


def _refuse_existing(path: Path, force: bool) -> None:
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} is there already: --force writes over it, --output names another")


def _found_here() -> list[Path]:
    here = next((Path(name) for name in _COMPOSE_NAMES if Path(name).is_file()), None)
    return [here] if here and typer.confirm(f"Make it from {here}?", default=True) else []


def _default_name(output: Path) -> str:
    folder = output.resolve().parent
    word = folder.parent.name if folder.name in ("chaos", ".") else folder.name
    return _NOT_IN_A_NAME.sub("-", word).strip("-_.")[:60] or "pipeline"


# --- the draft ---


def _from_compose(
    name: str,
    files: list[Path],
    output: Path,
    profiles: list[str],
    env_files: list[Path],
    named: tuple[str | None, str | None, str | None],
) -> Draft:
    from chaoskit.engine.drafting import guess, reading
    from chaoskit.runtime.compose.command import Files

    absolute = (tuple(p.resolve() for p in files), tuple(profiles), tuple(p.resolve() for p in env_files))
    project = reading.read(Files(*absolute))
    if project.note:
        err.print(f"chaoskit: {project.note}", markup=False, style="yellow")
    draft = guess.draft_of(project, name, *named)
    folder = output.resolve().parent
    seen_from = [tuple(os.path.relpath(path, folder) for path in paths) for paths in (absolute[0], absolute[2])]
    return replace(draft, files=seen_from[0], env_files=seen_from[1], profiles=tuple(profiles))


def _from_nothing(name: str, programs: list[str], no_broker: bool) -> Draft:
    from chaoskit.engine.drafting import skeleton

    return skeleton.draft_of(name, skeleton.commands_of(programs), broker=not no_broker)


def _with_options(
    draft: Draft,
    target: str | None,
    verifier: str | None,
    verify: str | None,
    success: str | None,
    failure: str | None,
    restart: str | None,
) -> Draft:
    from chaoskit.engine.drafting import skeleton

    if verifier and verify:
        raise UsageError("--verifier names a program that judges, --verify a command that does: give one of them")
    command = skeleton.words_of(verify, "--verify") if verify else None if verifier else draft.verifier_command
    return replace(
        draft,
        target=target or draft.target,
        verifier=verifier or draft.verifier,
        verifier_command=command,
        success=success,
        failure=failure,
        restart=_restart(restart) or draft.restart,
    )


def _restart(word: str | None) -> Restart | None:
    if word not in (None, "chaoskit", "engine", "none"):
        raise UsageError(f"--restart {word}: it is chaoskit, engine or none")
    return word  # type: ignore[return-value]


def _expecting(draft: Draft, expect: str | None) -> Draft:
    from chaoskit.cli.asking import expected

    return draft if expect is None else replace(draft, expect=expected(expect, draft))


# --- the files ---


def _write(draft: Draft, output: Path, force: bool) -> None:
    from chaoskit.engine.drafting.text import SCHEMA_NAME, render

    made_by = shlex.join(["chaoskit", *sys.argv[1:]])
    folder = output.resolve().parent
    # The rest has to be right before anything is written, so that what is left are the fields to fill in.
    scenarios.parse(sources.parse(render(draft.filled(), made_by), str(output)), folder)
    text = render(draft, made_by)
    _put(output, text, force)
    schema = output.with_name(SCHEMA_NAME)
    if force or not os.path.lexists(schema):
        _put(schema, text_of(Document.SCENARIO), force)
    _say(draft, output, schema, text)


def _put(path: Path, text: str, force: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as e:
        raise UsageError(f"{path}: cannot be written: {e.strerror}") from None


def _say(draft: Draft, output: Path, schema: Path, text: str) -> None:
    judge = draft.verifier if draft.verifier_command is None else "a command"
    out.print(f"wrote {output}, and {schema} for editors", markup=False)
    out.print(f"  hurt: {draft.target}; judged by: {judge}; started again by: {draft.restart}", markup=False)
    if draft.remarks.get("programs"):
        out.print(f"  {draft.remarks['programs']}", markup=False)
    if draft.broker_candidates and not draft.broker_service:
        out.print(f"  {draft.remarks['broker']}", markup=False, style="yellow")
    source = sources.parse(text, str(output))
    for field in draft.open_fields():
        line = source.line(tuple(field.split(".")))
        out.print(f"  to fill in: {field} (line {line})", markup=False, style="yellow")
    run = f"chaoskit run {shlex.quote(str(output))}"
    out.print(f"then: `{run}` to see that it is green without faults, and `{run} --kills 3`", markup=False)
