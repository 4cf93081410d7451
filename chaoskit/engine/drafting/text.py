"""The text of a drafted scenario.yaml: what is known, why, and in plain sight what has to be filled in.

A field that nobody can guess stands there without a value: until it has one the parser refuses the file, and names it.
"""

from collections.abc import Iterator

import yaml

from chaoskit.engine.drafting.draft import Draft, DraftProgram
from chaoskit.model.scenario import Verifier

SCHEMA_NAME = "scenario.schema.json"
_FILL_IN = "FILL IN:"
_REMARK_COLUMN = 32
_DEFAULTS = Verifier()


def render(draft: Draft, made_by: str) -> str:
    """scenario.yaml, ending in a newline; `made_by` is the command that made it."""
    return "\n".join(_lines(draft, made_by)) + "\n"


def _lines(draft: Draft, made_by: str) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={SCHEMA_NAME}"
    yield f"# Made by `{_one_line(made_by)}`. `chaoskit run` and `chaoskit explore` take this file's path."
    yield f"name: {_value(draft.name)}"
    yield from _project(draft)
    if draft.parameters:
        yield _line("parameters:", "environment of every program; --set NAME=VALUE changes one")
        yield from (f"  {_value(name)}: {_value(value)}" for name, value in draft.parameters.items())
        yield _line("explore: {}", "smaller ones of these for `chaoskit explore`")
    yield _line("programs:", draft.remarks.get("programs", ""))
    for program in draft.programs:
        yield from _program(program)
    yield _line(f"target: {_value(draft.target)}", "who is hurt")
    yield from _verifier(draft)
    if not draft.broker:
        yield _line("broker: false", "the programs need none")
    yield _line(f"restart: {draft.restart}", f"who starts it again{draft.remarks.get('restart', ', or none')}")
    yield _line("timeout_s: 60", "a run is given up after so long")


def _project(draft: Draft) -> Iterator[str]:
    if not draft.files:
        return
    if len(draft.files) == 1 and not (
        draft.profiles or draft.env_files or draft.broker_service or draft.broker_candidates
    ):
        yield f"compose: {_value(draft.files[0])}"
        return
    yield "compose:"
    yield f"  files: {_value(list(draft.files))}"
    for name, values in (("profiles", draft.profiles), ("env_files", draft.env_files)):
        if values:
            yield f"  {name}: {_value(list(values))}"
    if draft.broker_service:
        yield f"  broker: {_value(draft.broker_service)}"
    elif draft.broker_candidates:
        yield _line("  broker:", f"{_FILL_IN} {draft.remarks.get('broker', '')}")


def _program(program: DraftProgram) -> Iterator[str]:
    fields = []
    if program.command is not None:
        fields.append(_command(program.command))
    if program.data_dir is not None:
        fields.append(_line(f"    data_dir: {_value(program.data_dir)}", program.remark))
    if program.after:
        fields.append(f"    after: {_value(list(program.after))}")
    remark = "" if program.data_dir is not None else program.remark
    yield _line(f"  {_value(program.name)}:{'' if fields else ' {}'}", remark)
    yield from fields


def _command(command: tuple[str, ...]) -> str:
    if command:
        return f"    command: {_value(list(command))}"
    return _line("    command:", f"{_FILL_IN} as a list, such as [python, worker.py]; run in this file's folder")


def _verifier(draft: Draft) -> Iterator[str]:
    yield _line("verifier:", draft.remarks.get("verifier", ""))
    if draft.verifier_command:
        yield _line(f"  command: {_value(list(draft.verifier_command))}", "when all is at rest: 0 is SUCCESS")
    elif draft.verifier_command is not None:
        yield _line("  command:", f"{_FILL_IN} it runs when all is at rest and sees {{data}}; ending with 0 is SUCCESS")
    else:
        yield _line(f"  program: {_value(draft.verifier)}", "its lines are the verdicts")
    yield from _patterns(draft)
    if draft.expect is not None:
        expect = list(draft.expect) if isinstance(draft.expect, tuple) else draft.expect
        yield f"  expect: {_value(expect)}"
    elif draft.needs_expect:
        hint = f"; {draft.verifier} has {draft.expect_hint}" if draft.expect_hint else ""
        yield _line("  expect:", f"{_FILL_IN} the ids that must be judged, [A, B], or how many{hint}")


def _patterns(draft: Draft) -> Iterator[str]:
    """The patterns that were given, else those that go without saying, to be seen and changed."""
    given: dict[str, str | None] = {"success": draft.success, "failure": draft.failure}
    if draft.success is None and draft.failure is None:
        usual: dict[str, str | None] = {"success": _DEFAULTS.success, "failure": _DEFAULTS.failure}
        given = usual if draft.verifier_command is None else {}
    for field, pattern in given.items():
        if pattern is not None:
            remark = "(?P<id>...) names what was judged" if field == "success" and "(?P<id>" in pattern else ""
            yield _line(f"  {field}: {_quoted(pattern)}", remark)


def _line(text: str, remark: str) -> str:
    return f"{text:{_REMARK_COLUMN}}  # {_one_line(remark)}" if remark else text


def _one_line(text: str) -> str:
    return " ".join(text.split()).encode("unicode_escape").decode("ascii") if not text.isprintable() else text


def _value(value: object) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _quoted(pattern: str) -> str:
    """A regular expression in single quotes, in which YAML leaves backslashes alone."""
    return "'" + pattern.replace("'", "''") + "'" if pattern.isprintable() else _value(pattern)
