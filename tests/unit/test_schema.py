"""The JSON Schemas say what the parsers do: what is read validates, and typical mistakes are refused by both."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from chaoskit import bundled
from chaoskit.cli.schema import Document, text_of
from chaoskit.faults import TABLE, check_plan
from chaoskit.faults.schema import plan_schema
from chaoskit.model import plan as plans
from chaoskit.model import scenario as scenarios
from chaoskit.model import sources
from chaoskit.model.errors import UsageError
from chaoskit.model.schema import scenario_schema
from chaoskit.model.triggers import KINDS

TESTS = Path(__file__).parents[1]
FAULTS = frozenset(TABLE)
SCENARIO = Draft202012Validator(scenario_schema())
PLAN = Draft202012Validator(plan_schema())
SMALL = """
name: small
parameters: {COUNT: 2, FLAG: true, SHARE: 0.5, WORD: w}
programs:
  worker: {command: [python, worker.py], environment: {OWN: 1}}
  judge: {command: [python, judge.py], after: [worker]}
target: worker
verifier: {program: judge, expect: COUNT}
"""


def scenario_files() -> list[Path]:
    return sorted([*bundled.scenarios_dir().glob("*/scenario.yaml"), *TESTS.glob("**/scenario*.yaml")])


def texts_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def plans_of_the_tests() -> list[str]:
    """Every text in the tests, and every file, that the parser reads as a plan."""
    files = [path.read_text() for path in TESTS.glob("**/*plan*.yaml")]
    texts = (text for path in TESTS.glob("**/*.py") for text in texts_in(path) if "steps:" in text and "at:" in text)
    return [text for text in (*files, *texts) if is_plan(text)]


def is_plan(text: str) -> bool:
    try:
        plan = plans.parse(sources.parse(text, "plan.yaml"), FAULTS)
    except UsageError:
        return False
    queues_aside = [step for step in plan.steps if TABLE[step.fault].target == "program"]
    try:
        check_plan(plans.Plan(0, tuple(queues_aside)), any_programs(queues_aside), TABLE)
    except UsageError:
        return False
    return True


def any_programs(steps: list[plans.Step]) -> scenarios.Scenario:
    names = {"worker", *(step.target for step in steps)}
    data = {"name": "any", "target": "worker", "verifier": {"program": "worker", "expect": 1}}
    programs = {name: {"command": ["true"]} for name in names}
    return scenarios.parse(sources.Source("any", {**data, "programs": programs}, None), Path("/"))


def errors(validator: Draft202012Validator, document: Any) -> list[str]:
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]


def test_both_are_schemas_of_draft_2020_12() -> None:
    for schema in (scenario_schema(), plan_schema()):
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", scenario_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_scenario_file_that_is_read_validates(path: Path) -> None:
    try:
        scenarios.load(path)
    except UsageError:
        assert "refused" in path.name, f"{path} is not read"
        return
    assert errors(SCENARIO, yaml.safe_load(path.read_text())) == []


def test_every_plan_of_the_tests_validates() -> None:
    found = plans_of_the_tests()
    assert len(found) > 8
    assert [(text, wrong) for text in found if (wrong := errors(PLAN, yaml.safe_load(text)))] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_example_of_every_trigger_validates(kind: Any) -> None:
    fault = next(fault for fault in TABLE.values() if kind in fault.triggers)
    step = {fault.name: "x", "at": yaml.safe_load(kind.example)}
    assert errors(PLAN, {"steps": [step]}) == []


@pytest.mark.parametrize("fault", TABLE.values(), ids=lambda fault: fault.name)
def test_every_fault_validates_with_its_options_at_their_defaults(fault: Any) -> None:
    kind = fault.triggers[0]
    key = next(key for key in kind.KEYS if kind.KEYS[0] != "write" or key in fault.operations)
    at = {key: 1 if key in ("message", "time_s") else "x"}
    target = "broker" if fault.target == "broker" else "x"
    step = {fault.name: target, "at": at, **{name: option.default for name, option in fault.options.items()}}
    assert errors(PLAN, {"steps": [step]}) == []
    assert errors(PLAN, {"steps": [{**step, "surprise": 1}]}) != []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: small", "nmae: small"),
        ("name: small\n", ""),
        ("name: small", "name: [small]"),
        ("name: small", "name: ../small"),
        ("target: worker\n", ""),
        ("target: worker", "target: []"),
        ("target: worker", "target: 3"),
        ("program: judge", "progam: judge"),
        ("program: judge, ", ""),
        ("expect: COUNT", "expect: []"),
        ("expect: COUNT", "expect: 0"),
        ("expect: COUNT", "expect: [1]"),
        ("expect: COUNT", "expect: COUNT, success: 'OK (.*)'"),
        ("command: [python, worker.py]", "comand: [python, worker.py]"),
        ("command: [python, worker.py]", "command: python worker.py"),
        ("command: [python, worker.py]", "data: worker"),
        ("{OWN: 1}", "{OWN: [1]}"),
        ("{OWN: 1}", "{O-WN: 1}"),
        ("COUNT: 2", "COUNT: {a: 1}"),
        ("COUNT: 2", "2COUNT: 2, COUNT: 2"),
        ("expect: COUNT", "command: [true], expect: COUNT"),
        (", expect: COUNT", ""),
        ("expect: COUNT", "expect: [A], data: worker"),
        ("expect: COUNT", "exit_code: true, success: 'OK'"),
        ("target: worker", "target: worker\nrestart: always"),
        ("target: worker", "target: worker\ntimeout_s: 0"),
        ("target: worker", "target: worker\ntimeout_s: soon"),
        ("target: worker", "target: worker\ncompose: {files: []}"),
        ("target: worker", "target: worker\ncompose: {profile: [x]}"),
        ("target: worker", "target: worker\nfolder: /tmp"),
    ],
)
def test_a_mistake_in_a_scenario_is_refused_by_schema_and_parser(old: str, new: str) -> None:
    assert SMALL.count(old) == 1
    text = SMALL.replace(old, new)
    assert errors(SCENARIO, yaml.safe_load(SMALL)) == []
    assert errors(SCENARIO, yaml.safe_load(text)) != []
    with pytest.raises(UsageError):
        scenarios.parse(sources.parse(text, "scenario.yaml"), Path("/"))


@pytest.mark.parametrize(
    "step",
    [
        "kil: worker-2, at: {time_s: 1}",
        "kill: worker-2",
        "kill: worker-2, at: soon",
        "kill: worker-2, at: {}",
        "kill: worker-2, at: {wrote: x}",
        "kill: worker-2, at: {write: x, nth: 0}",
        "kill: worker-2, at: {write: x, nth: two}",
        "kill: worker-2, at: {write: x, byte: half}",
        "kill: worker-2, at: {write: x, when: inside}",
        "kill: worker-2, at: {write: x, when: before, byte: 1}",
        "kill: worker-2, at: {fsync: x, byte: 1}",
        "kill: worker-2, at: {write: x, fsync: x}",
        "kill: worker-2, at: {time_s: -1}",
        "kill: worker-2, at: {log: 1}",
        "kill: worker-2, at: {time_s: 1}, restart: maybe",
        "kill: worker-2, at: {time_s: 1}, force: true",
        "kill: worker-2, stop: worker-2, at: {time_s: 1}",
        "kill: 2, at: {time_s: 1}",
        "duplicate: queue-1-2, at: {write: x}",
        "duplicate: queue-1-2, at: {message: 0}",
        "short-write: worker-2, at: {fsync: x}",
        "pause: worker-2, at: {time_s: 1}, for_s: long",
        "power-loss: worker-2, at: {write: x}, state: foo",
        "power-loss: worker-2, at: {write: x}, state: 'keep:'",
    ],
)
def test_a_mistake_in_a_plan_is_refused_by_schema_and_parser(step: str) -> None:
    text = f"steps: [{{{step}}}]"
    assert errors(PLAN, yaml.safe_load(text)) != []
    source = sources.parse(text, "plan.yaml")
    with pytest.raises(UsageError):
        check_plan(plans.parse(source, FAULTS), bundled.find("stateful"), TABLE, source)


def test_every_field_of_a_scenario_has_words_that_an_editor_shows() -> None:
    silent = [
        f"{name}.{field}"
        for name, definition in scenario_schema()["$defs"].items()
        for field, schema in definition.get("properties", {}).items()
        if not schema.get("description")
    ]
    assert silent == []


@pytest.mark.parametrize("document", list(Document))
def test_the_printed_schema_is_json(document: Document) -> None:
    assert json.loads(text_of(document))["title"] == f"chaoskit {document}"
