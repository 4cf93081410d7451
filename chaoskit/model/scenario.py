"""The scenario: which programs make up a pipeline, who is hurt, who judges, and with which parameters.

A scenario is declared in a scenario.yaml. `parse` turns one into a `Scenario` and checks everything that can be
checked without running it: unknown names, cycles, patterns that do not compile, paths that leave their folder. What
may be left out or shortened in the file is complete in a `Scenario`: targets are names, a verifier is a program.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from chaoskit.model import placeholders, selectors, sources
from chaoskit.model.errors import UsageError
from chaoskit.model.given_broker import Broker
from chaoskit.model.sources import Source, Where

Scalar = str | int | float | bool
Restart = Literal["chaoskit", "engine", "none"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IN_CONTAINER = re.compile(r"/[^\0]+")
# What the program is called that a verifier's command becomes.
VERIFIER = "verifier"


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One program: its command (local runtime), its data directory, its environment, what must be ready before.

    `labels` are there to be chosen by (`target: label:tier=workers`). A program that `stays_up`, such as a server, is
    not waited for: the others end, and it is ended with the run. On the compose runtime a program is the service of
    its name, or `service`, and what is watched is `data_dir` inside its container; without a `command` it runs there
    only.
    """

    command: tuple[str, ...] = ()
    service: str | None = None
    data_dir: str = "/app/worker-data"
    data: str | None = None
    environment: dict[str, Scalar] = {}
    after: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    stays_up: bool = False


class Compose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Compose project, its paths relative to the scenario's folder; a lone path in the file stands for `files`.

    `broker` names the service that is the broker where that cannot be seen from the project.
    """

    files: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    broker: str | None = None


class Verifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who judges: a program that prints verdict lines, or a command that runs when everything has come to rest.

    `expect` lists the ids, or says how many there are: a number, or the name of the parameter that holds it. With
    `exit_code` the verdict is how the verifier ends, 0 or not, and there is one id. `command`, which sees the data
    directory `data` (default: the first target's), is in `Scenario.programs` too, under the name in `program`.
    `results` names the queue of a worker that sends each result, by its message id, once unless it was killed.
    """

    program: str = ""
    expect: tuple[str, ...] | int | str = ()
    success: str = r"SUCCESS \[(?P<id>[^\]]+)\]"
    failure: str = r"FAILURE \[(?P<id>[^\]]+)\]"
    results: str | None = None
    command: tuple[str, ...] = ()
    data: str | None = None
    environment: dict[str, Scalar] = {}
    exit_code: bool = False

    @property
    def last(self) -> str | None:
        """The program that runs after all others: the one that a command of the verifier is."""
        return self.program if self.command else None


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
    broker: bool | Broker = True
    restart: Restart = "chaoskit"
    timeout_s: float = 60
    folder: str = ""

    @property
    def given_broker(self) -> Broker | None:
        """The broker of the user's own, None where it is the embedded one, or none at all."""
        return self.broker if isinstance(self.broker, Broker) else None

    def select(self, selector: str) -> tuple[str, ...]:
        """The programs that a selector names (model/selectors.py). Raises ValueError with one line when one is none."""
        labels = {name: program.labels for name, program in self.programs.items() if name != self.verifier.last}
        return selectors.select(selector, labels, unless_named=(self.verifier.program,))

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
        return {name: as_text(value) for name, value in merged.items()}

    def places(self, directories: Mapping[str, str]) -> dict[str, str]:
        """What placeholders stand for: the parameters, and these directories."""
        return {**{name: as_text(value) for name, value in self.parameters.items()}, **directories}

    def filled(self, program: str, environment: Mapping[str, str], directories: Mapping[str, str]) -> dict[str, str]:
        """An environment with the placeholders filled that the scenario declared: a broker's password may look so."""
        declared, places = self.environment_of(program), self.places(directories)
        return {
            name: placeholders.fill(value, places) if declared.get(name) == value else value
            for name, value in environment.items()
        }


def as_text(value: Scalar) -> str:
    """A value as a program finds it in its environment: true and false in small letters, as YAML has them."""
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
    scenario = source.convert({**data, "folder": str(folder)}, Scenario, own=("folder",))
    scenario = _completed(scenario, source)
    _check(scenario, source)
    return scenario


def _completed(scenario: Scenario, source: Source) -> Scenario:
    """The scenario with its targets as names, its verifier as a program, and what may be left out filled in."""
    scenario = msgspec.structs.replace(scenario, target=_targets(scenario, source))
    verifier = _judge(scenario, source)
    if not verifier.command:
        return msgspec.structs.replace(scenario, verifier=verifier)
    if VERIFIER in scenario.programs:
        raise source.error(f"the verifier's command gets the name {VERIFIER!r}: rename this", ("programs", VERIFIER))
    data = verifier.data or scenario.data_name(scenario.target[0])
    last = Program(command=verifier.command, data=data, environment=verifier.environment)
    verifier = msgspec.structs.replace(verifier, program=VERIFIER)
    return msgspec.structs.replace(scenario, programs={**scenario.programs, VERIFIER: last}, verifier=verifier)


def _judge(scenario: Scenario, source: Source) -> Verifier:
    """The verifier with how it judges and what to expect: one verdict, under the scenario's name, where nothing else
    is said and nothing in its patterns could name what was judged."""
    verifier = scenario.verifier
    if bool(verifier.program) == bool(verifier.command):
        raise source.error("name the `program` that judges, or give a `command` that does, not both", ("verifier",))
    given = {field for field in ("success", "failure") if field in source.data["verifier"]}
    if verifier.exit_code and given:
        raise source.error("`exit_code: true` and patterns are two ways to judge: leave out one", ("verifier",))
    by_exit = verifier.exit_code or bool(verifier.command and not given)
    nameless = bool(given) and not any("(?P<id>" in getattr(verifier, field) for field in given)
    expect = (scenario.name,) if verifier.expect == () and (by_exit or nameless) else verifier.expect
    return msgspec.structs.replace(verifier, exit_code=by_exit, expect=expect)


def _targets(scenario: Scenario, source: Source) -> tuple[str, ...]:
    if not scenario.target:
        raise source.error("name at least one program", ("target",))
    try:
        return tuple(dict.fromkeys(name for selector in scenario.target for name in scenario.select(selector)))
    except ValueError as e:
        raise source.error(str(e), ("target",)) from None


def _check(scenario: Scenario, source: Source) -> None:
    _check_names(scenario, source)
    _check_references(scenario, source)
    _check_order(scenario, source)
    _check_placeholders(scenario, source)
    if scenario.compose is not None and not scenario.compose.files:
        raise source.error("name at least one Compose file", ("compose", "files"))
    if scenario.timeout_s <= 0:
        raise source.error("must be more than 0 seconds", ("timeout_s",))
    if scenario.given_broker is not None and (problem := scenario.given_broker.problem()):
        raise source.error(problem, ("broker",))
    _check_expected(scenario, source)
    _check_patterns(scenario.verifier, source)
    for name in scenario.explore:
        if name not in scenario.parameters:
            raise source.error(f"{name} is not in `parameters`", ("explore", name))


def _check_expected(scenario: Scenario, source: Source) -> None:
    verifier, where = scenario.verifier, ("verifier", "expect")
    expect = verifier.expect
    if isinstance(expect, str) and expect not in scenario.parameters:
        raise source.error(f"there is no parameter {expect!r} that says how many", where)
    if expect == () or (isinstance(expect, int) and expect < 1):
        raise source.error("name at least one id, or how many: no verdict is no success", where)
    if verifier.exit_code and not (isinstance(expect, tuple) and len(expect) == 1):
        raise source.error("an exit code is one verdict: name one id, or leave it out", where)
    for field in ("data", "environment"):
        if getattr(verifier, field) and not verifier.command:
            raise source.error(f"belongs to the program {verifier.program!r}", ("verifier", field))


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
            raise source.error("a command has at least one word", (*_place_of(name, scenario), "command"))
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

    known(scenario.verifier.program, ("verifier", "program"))
    for name, program in scenario.programs.items():
        for earlier in program.after:
            known(earlier, ("programs", name, "after"))
            if earlier == scenario.verifier.last:
                raise source.error("the verifier's command runs last: nothing comes after it", ("programs", name))


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


def _check_placeholders(scenario: Scenario, source: Source) -> None:
    names = {*placeholders.DIRECTORIES, *scenario.parameters}
    for name, program in scenario.programs.items():
        texts = [("command", word) for word in program.command]
        texts += [("environment", value) for value in program.environment.values() if isinstance(value, str)]
        for field, text in texts:
            if unknown := placeholders.unknown(text, names):
                known = ", ".join(f"{{{known}}}" for known in sorted(names))
                problem = f"there is no {{{unknown}}} (known: {known}); write {{{{{unknown}}}}} for the text itself"
                raise source.error(problem, (*_place_of(name, scenario), field))


def _place_of(program: str, scenario: Scenario) -> Where:
    """Where in the file a program stands: the verifier's command is no entry of `programs`."""
    return ("verifier",) if program == scenario.verifier.last else ("programs", program)


def _check_patterns(verifier: Verifier, source: Source) -> None:
    for field in () if verifier.exit_code else ("success", "failure"):
        try:
            compiled = re.compile(getattr(verifier, field))
        except re.error as e:
            raise source.error(f"not a regular expression: {e}", ("verifier", field)) from None
        one = isinstance(verifier.expect, tuple) and len(verifier.expect) == 1
        if "id" not in compiled.groupindex and not one:
            raise source.error("needs a group (?P<id>...) that names what was judged", ("verifier", field))
