"""The scenario: which programs make up a pipeline, who is hurt, who judges, and with which parameters.

A scenario is declared in a scenario.yaml. `parse` turns one into a `Scenario` and checks everything that can be
checked without running it: unknown names, cycles, patterns that do not compile, paths that leave their folder.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from chaoskit.model import sources
from chaoskit.model.errors import UsageError
from chaoskit.model.sources import Source, Where

Scalar = str | int | float | bool
Restart = Literal["chaoskit", "engine", "none"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IN_CONTAINER = re.compile(r"/[^\0]+")


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One program: its command (local runtime), its data directory, its environment, what must be ready before.

    On the compose runtime it is the service of its name, or `service`, and what is watched is `data_dir` inside its
    container; without a `command` it runs there only.
    """

    command: tuple[str, ...] = ()
    service: str | None = None
    data_dir: str = "/app/worker-data"
    data: str | None = None
    environment: dict[str, Scalar] = {}
    after: tuple[str, ...] = ()


class Compose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Compose project, its paths relative to the scenario's folder; a lone path in the file stands for `files`.

    `broker` names the service that is the broker where that cannot be seen from the project.
    """

    files: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    broker: str | None = None


class Verifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who prints verdict lines, what they look like, and which ids must come.

    `expect` lists the ids, or says how many there are: a number, or the name of the parameter that holds it.
    `results` names the queue of a worker that sends each result, by its message id, once unless it was killed.
    """

    program: str
    expect: tuple[str, ...] | int | str
    success: str = r"SUCCESS \[(?P<id>[^\]]+)\]"
    failure: str = r"FAILURE \[(?P<id>[^\]]+)\]"
    results: str | None = None


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole pipeline. `folder` is where its programs run (absolute); it is not part of the file."""

    name: str
    programs: dict[str, Program]
    target: tuple[str, ...]
    verifier: Verifier
    summary: str = ""
    parameters: dict[str, Scalar] = {}
    explore: dict[str, Scalar] = {}
    compose: Compose | None = None
    broker: bool = True
    restart: Restart = "chaoskit"
    timeout_s: float = 60
    folder: str = ""

    def data_name(self, program: str) -> str:
        """The data directory of `program`: the one it names, else one of its own."""
        return self.programs[program].data or program

    def service_of(self, program: str) -> str:
        """The Compose service that a program is."""
        return self.programs[program].service or program

    def with_parameters(self, changes: Mapping[str, Scalar]) -> "Scenario":
        """The same scenario with other parameters. Raises UsageError for one that it does not have."""
        unknown = sorted(set(changes) - set(self.parameters))
        if unknown:
            known = ", ".join(sorted(self.parameters)) or "none"
            raise UsageError(f"--set {unknown[0]}: {self.name} has no such parameter (it has: {known})")
        return msgspec.structs.replace(self, parameters={**self.parameters, **changes})

    def expected(self) -> tuple[str, ...] | int:
        """The ids whose verdict must come, or how many. Raises UsageError when a parameter is no such number."""
        expect = self.verifier.expect
        if not isinstance(expect, str):
            return expect
        value = self.parameters[expect]
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"{expect} is {value!r}: it says how many verdicts to expect, a whole number from 1")
        return value

    def environment_of(self, program: str) -> dict[str, str]:
        """Parameters and the program's own environment as strings; the program's own win."""
        merged = {**self.parameters, **self.programs[program].environment}
        return {name: _as_text(value) for name, value in merged.items()}


def _as_text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def load(path: Path) -> Scenario:
    """The scenario in the file `path`. Raises UsageError that names file, line and field."""
    return parse(sources.read(path), path.resolve().parent)


def parse(source: Source, folder: Path) -> Scenario:
    """The scenario in `source`, its programs run in `folder`."""
    if not isinstance(source.data, dict):
        raise source.error("a scenario is a mapping with name, programs, target and verifier")
    data = dict(source.data)
    if "folder" in data:
        raise source.error("a scenario has no such field", ("folder",))
    if isinstance(data.get("target"), str):
        data["target"] = [data["target"]]
    if isinstance(data.get("compose"), str):
        data["compose"] = {"files": [data["compose"]]}
    programs = data.get("programs")
    if isinstance(programs, dict):
        for name, program in programs.items():
            source.convert(program, Program, ("programs", str(name)))
    scenario = source.convert({**data, "folder": str(folder)}, Scenario)
    _check(scenario, source)
    return scenario


def _check(scenario: Scenario, source: Source) -> None:
    _check_names(scenario, source)
    _check_references(scenario, source)
    _check_order(scenario, source)
    _check_patterns(scenario.verifier, source)
    if scenario.compose is not None and not scenario.compose.files:
        raise source.error("name at least one Compose file", ("compose", "files"))
    if scenario.timeout_s <= 0:
        raise source.error("must be more than 0 seconds", ("timeout_s",))
    expect = scenario.verifier.expect
    if isinstance(expect, str) and expect not in scenario.parameters:
        raise source.error(f"there is no parameter {expect!r} that says how many", ("verifier", "expect"))
    if expect == () or (isinstance(expect, int) and expect < 1):
        raise source.error("name at least one id, or how many: no verdict is no success", ("verifier", "expect"))
    for name in scenario.explore:
        if name not in scenario.parameters:
            raise source.error(f"{name} is not in `parameters`", ("explore", name))


def _check_names(scenario: Scenario, source: Source) -> None:
    def need(text: str, pattern: re.Pattern[str], where: Where) -> None:
        if not pattern.fullmatch(text):
            raise source.error(f"{text!r} is not a name ({pattern.pattern})", where)

    need(scenario.name, _NAME, ("name",))
    for name, program in scenario.programs.items():
        need(name, _NAME, ("programs", name))
        if program.data is not None:
            need(program.data, _NAME, ("programs", name, "data"))
        if not program.command and scenario.compose is None:
            raise source.error("a command has at least one word", ("programs", name, "command"))
        if program.service is not None:
            need(program.service, _NAME, ("programs", name, "service"))
        if not _IN_CONTAINER.fullmatch(program.data_dir) or ".." in program.data_dir.split("/"):
            raise source.error("must be an absolute path inside the container", ("programs", name, "data_dir"))
        for variable in program.environment:
            need(variable, _PARAMETER, ("programs", name, "environment", variable))
    for parameter in scenario.parameters:
        need(parameter, _PARAMETER, ("parameters", parameter))


def _check_references(scenario: Scenario, source: Source) -> None:
    def known(name: str, where: Where) -> None:
        if name not in scenario.programs:
            have = ", ".join(scenario.programs)
            raise source.error(f"there is no program {name!r} (programs: {have})", where)

    if not scenario.target:
        raise source.error("name at least one program", ("target",))
    for target in scenario.target:
        known(target, ("target",))
    known(scenario.verifier.program, ("verifier", "program"))
    for name, program in scenario.programs.items():
        for earlier in program.after:
            known(earlier, ("programs", name, "after"))


def start_order(programs: Mapping[str, Program]) -> list[str]:
    """Names in an order in which each program comes after those it names in `after`. Raises ValueError on a cycle."""
    order: list[str] = []
    waiting = dict(programs)
    while waiting:
        ready = [name for name, program in waiting.items() if all(a in order for a in program.after)]
        if not ready:
            raise ValueError(", ".join(waiting))
        order += ready
        for name in ready:
            del waiting[name]
    return order


def _check_order(scenario: Scenario, source: Source) -> None:
    try:
        start_order(scenario.programs)
    except ValueError as e:
        raise source.error(f"these programs wait for each other: {e}", ("programs",)) from None


def _check_patterns(verifier: Verifier, source: Source) -> None:
    patterns: dict[str, Any] = {"success": verifier.success, "failure": verifier.failure}
    for field, pattern in patterns.items():
        try:
            compiled = re.compile(pattern)
        except re.error as e:
            raise source.error(f"not a regular expression: {e}", ("verifier", field)) from None
        if "id" not in compiled.groupindex:
            raise source.error("needs a group (?P<id>...) that names what was judged", ("verifier", field))
