"""scenario.yaml: what is accepted, and that every error is one line which names the file, the line and the field."""

from pathlib import Path

import pytest

from chaoskit import bundled
from chaoskit.model import scenario as scenarios
from chaoskit.model.errors import UsageError
from chaoskit.model.scenario import Scenario

GOOD = """\
name: small
parameters: {COUNT: 2, FLAG: true, SHARE: 0.5, WORD: w}
programs:
  worker:
    command: [python, worker.py]
    environment: {OWN: 1}
  judge:
    command: [python, judge.py]
    after: [worker]
target: worker
verifier:
  program: judge
  expect: COUNT
timeout_s: 5
"""


def load(tmp_path: Path, text: str | bytes) -> Scenario:
    path = tmp_path / "scenario.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return scenarios.load(path)


def problem(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(tmp_path / "scenario.yaml"))
    return message.removeprefix(str(tmp_path / "scenario.yaml"))


def test_a_good_scenario_is_read(tmp_path: Path) -> None:
    scenario = load(tmp_path, GOOD)
    assert scenario.target == ("worker",)
    assert scenario.folder == str(tmp_path)
    assert scenario.expected() == 2
    assert scenario.environment_of("worker") == {"COUNT": "2", "FLAG": "true", "SHARE": "0.5", "WORD": "w", "OWN": "1"}
    assert scenario.data_name("worker") == "worker"


def test_every_bundled_scenario_is_read_and_knows_what_to_expect() -> None:
    assert {"stateful", "partition-writes"} <= set(bundled.names())
    for name in bundled.names():
        assert bundled.find(name).name == name
        assert bundled.find(name).expected()


def test_programs_start_after_those_they_wait_for(tmp_path: Path) -> None:
    text = GOOD.replace("  worker:\n", "  first:\n    command: [x]\n    after: [judge]\n  worker:\n")
    assert scenarios.start_order(load(tmp_path, text).programs) == ["worker", "judge", "first"]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("timeout_s: 5", "timeout_s: soon", 14, "timeout_s", "expected `float`"),
        ("timeout_s: 5", "timeout_s: 0", 14, "timeout_s", "more than 0"),
        ("timeout_s: 5", "timeout_s: .nan", 14, "timeout_s", "too large"),
        ("timeout_s: 5", "timeout_s: .inf", 14, "timeout_s", "too large"),
        ("timeout_s: 5", "timeouts: 5", 14, "timeouts", "`timeouts` (known: name, programs, target, "),
        ("expect: COUNT", "expects: COUNT", 13, "verifier.expects", "`expects` (known: program, expect, "),
        ("timeout_s: 5", "folder: /etc", 14, "folder", "no such field"),
        ("name: small", "name: ../../etc", 1, "name", "not a name"),
        ("name: small", "name: 7", 1, "name", "expected `str`"),
        ("name: small\n", "name: small\nname: other\n", 2, "", "stands here twice"),
        ("COUNT: 2", "COUNT: 99999999999999999999", 2, "parameters.COUNT", "too large"),
        ("COUNT: 2", "COUNT: [2]", 2, "parameters", "expected"),
        ("COUNT: 2", "A-B: 2", 2, "parameters.A-B", "not a name"),
        ("COUNT: 2", "COUNT: 2, COUNT: 3", 2, "", "stands here twice"),
        ("WORD: w", 'WORD: "\\0"', 2, "parameters.WORD", "cannot be part of a text"),
        ("WORD: w", 'WORD: "\\uD800"', 2, "parameters.WORD", "cannot be part of a text"),
        ("command: [python, worker.py]", "command: x", 5, "programs.worker.command", "a list of words, such as ["),
        ("after: [worker]", "after: worker", 9, "programs.judge.after", "a list, such as [one, another]"),
        ("command: [python, worker.py]", "command: []", 5, "programs.worker.command", "at least one word"),
        ("command: [python, worker.py]", "commands: [x]", 5, "programs.worker.commands", "(known: command, "),
        ("environment: {OWN: 1}", "environment: {'a b': 1}", 6, "programs.worker.environment.a b", "not a name"),
        ("environment: {OWN: 1}", "data: ../other", 6, "programs.worker.data", "not a name"),
        ("after: [worker]", "after: [nobody]", 9, "programs.judge.after", "no program 'nobody'"),
        ("after: [worker]", "after: [judge]", 3, "programs", "wait for each other"),
        ("target: worker", "target: workr", 10, "target", "no program 'workr' (programs: worker, judge)"),
        ("target: worker", "target: []", 10, "target", "at least one"),
        ("program: judge", "program: nobody", 12, "verifier.program", "no program"),
        ("expect: COUNT", "expect: CONT", 13, "verifier.expect", "no parameter 'CONT'"),
        ("expect: COUNT", "expect: 0", 13, "verifier.expect", "at least one id"),
        ("expect: COUNT", "expect: []", 13, "verifier.expect", "at least one id"),
        ("expect: COUNT", "expect: COUNT\n  success: '('", 14, "verifier.success", "not a regular expression"),
        ("expect: COUNT", "expect: COUNT\n  failure: bad", 14, "verifier.failure", "(?P<id>...)"),
        ("timeout_s: 5", "restart: never", 14, "restart", "invalid enum value"),
        ("timeout_s: 5", "explore: {CONT: 1}", 14, "explore.CONT", "not in `parameters`"),
        ("  worker:\n", "\tworker:\n", 4, "", "\\t"),
        ("target: worker", "target: [worker", 11, "", "expected"),
        ("target: worker", "target: !!python/object/apply:os.system [id]", 10, "", "could not determine"),
        ("target: worker", "? [a, b]\n: 1", 10, "", "a key must be a word"),
    ],
)
def test_an_error_names_line_and_field(tmp_path: Path, old: str, new: str, line: int, field: str, words: str) -> None:
    assert old in GOOD
    message = problem(tmp_path, GOOD.replace(old, new, 1))
    assert message.startswith(f", line {line}{', ' + field if field else ''}: "), message
    assert words in message


ALONE = """\
name: alone
parameters: {COUNT: 2}
programs:
  one: {command: [./one, "{data}/x", "{COUNT}"], labels: {tier: workers}}
  two: {command: [./two], data: shared, labels: {tier: workers}}
  judge-of-all: {command: [./judge]}
target: "label:tier=workers"
verifier: {command: [./check, "{data}"]}
broker: false
"""


def test_a_command_that_judges_is_a_program_that_runs_last_and_its_exit_code_one_verdict(tmp_path: Path) -> None:
    scenario = load(tmp_path, ALONE)
    verifier = scenario.verifier
    assert scenario.target == ("one", "two")
    assert (verifier.program, verifier.last, verifier.exit_code, scenario.expected()) == (
        ("verifier", "verifier", True, ("alone",))
    )
    assert scenario.programs["verifier"].command == ("./check", "{data}")
    assert scenario.data_name("verifier") == "one", "it sees the files of the first target"
    assert "verifier" not in scenario.select("*")


def test_the_output_of_a_command_is_the_verdict_where_patterns_are_given(tmp_path: Path) -> None:
    lines = load(tmp_path, ALONE.replace('"{data}"]', '"{data}"], success: all good, failure: "bad: .*", data: shared'))
    assert not lines.verifier.exit_code and lines.expected() == ("alone",)
    assert lines.data_name("verifier") == "shared"


def test_the_exit_code_of_a_program_can_be_the_verdict(tmp_path: Path) -> None:
    text = GOOD.replace("  expect: COUNT\n", "  exit_code: true\n")
    scenario = load(tmp_path, text)
    assert scenario.expected() == ("small",) and scenario.verifier.last is None
    assert load(tmp_path, text.replace("exit_code: true", "exit_code: true\n  expect: [all]")).expected() == ("all",)


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("verifier: {", "verifier: {program: one, ", "verifier", "not both"),
        ('command: [./check, "{data}"]', "expect: [a]", "verifier", "not both"),
        ("verifier: {", "verifier: {exit_code: true, success: x, ", "verifier", "two ways to judge"),
        ("verifier: {", "verifier: {expect: [a, b], ", "verifier.expect", "one verdict"),
        ("verifier: {", "verifier: {expect: 2, ", "verifier.expect", "one verdict"),
        ("verifier: {", "verifier: {success: 'OK (?P<id>.*)', ", "verifier.expect", "at least one id"),
        ("verifier: {", "verifier: {success: OK, expect: 2, ", "verifier.success", "(?P<id>...)"),
        ("verifier: {command: [./check,", "verifier: {command: [./check, '{dta}',", "verifier.command", "no {dta}"),
        ("judge-of-all: {", "judge-of-all: {environment: {X: '{Y}'}, ", "programs.judge-of-all.environment", "no {Y}"),
        ("judge-of-all:", "verifier:", "programs.verifier", "gets the name 'verifier'"),
        ("judge-of-all: {", "judge-of-all: {after: [verifier], ", "programs.judge-of-all", "runs last"),
        ("label:tier=workers", "label:tier=none", "target", "labels: tier=workers"),
        ("label:tier=workers", "*-none", "target", "no program matches '*-none'"),
        ("label:tier=workers", "verifier", "target", "no program 'verifier'"),
    ],
)
def test_errors_of_lone_programs_name_the_field(tmp_path: Path, old: str, new: str, field: str, words: str) -> None:
    assert old in ALONE
    message = problem(tmp_path, ALONE.replace(old, new, 1))
    assert f", {field}: " in message and words in message, message


def test_data_and_environment_of_a_verifying_program_stand_with_the_program(tmp_path: Path) -> None:
    assert "belongs to the program 'judge'" in problem(tmp_path, GOOD.replace("  expect", "  data: x\n  expect"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "- a\n- b\n",
        "name: x",
        b"\xff\xfe\x00binary",
        b"\x7fELF\x02\x01\x01\x00\x00",
        "[" * 100_000,
        "a: " * 5_000,
        "a: &a [*a]\n",
        "a: *nothing\n",
        "!!bool perhaps",
        "!!int ''",
        "!!timestamp soon",
        "2026-13-45",
        "a: 1" + "0" * 6_000,
        "a: 1\n---\nb: 2\n",
        "#" * 1_000_001,
    ],
)
def test_what_is_no_scenario_at_all_is_one_line(tmp_path: Path, text: str | bytes) -> None:
    assert problem(tmp_path, text)


def test_aliases_may_repeat_a_part_but_not_a_million_times(tmp_path: Path) -> None:
    shared = GOOD.replace("environment: {OWN: 1}", "environment: &own {OWN: 1}").replace(
        "    after: [worker]", "    after: [worker]\n    environment: *own"
    )
    assert load(tmp_path, shared).programs["judge"].environment == {"OWN": 1}
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    assert "aliases stand for too much" in problem(tmp_path, bomb)


@pytest.mark.parametrize("value", ["x", "0", "-1", "1.5", True])
def test_a_count_of_verdicts_is_a_whole_number_from_one(tmp_path: Path, value: str | bool) -> None:
    with pytest.raises(UsageError, match="whole number from 1"):
        load(tmp_path, GOOD).with_parameters({"COUNT": value}).expected()


def test_an_unknown_parameter_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--set CUONT: small has no such parameter \(it has: COUNT, FLAG"):
        load(tmp_path, GOOD).with_parameters({"CUONT": 1})


@pytest.mark.parametrize("name", ["nope", "", "x" * 5_000, "a\0b", "/dev/null", "../../../etc/passwd", "\udcff"])
def test_what_names_no_scenario_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        bundled.find(name)


def test_a_folder_and_a_file_both_name_a_scenario(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    assert bundled.find(str(tmp_path)) == bundled.find(str(tmp_path / "scenario.yaml"))
