"""plan.yaml: errors name line and field, and what is dumped is read back as the same plan."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit import bundled
from chaoskit.faults import TABLE, check_plan
from chaoskit.model import plan as plans
from chaoskit.model import sources
from chaoskit.model.errors import UsageError
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import KINDS, OPERATIONS, AtCall, AtIntervals, AtLog, AtMessage, AtTime, Trigger
from chaoskit.model.triggers import parse as parse_trigger

NAMES = frozenset(TABLE)
GOOD = """\
seed: 42
steps:
  - kill: worker-2
    at: {write: "metadata/CLI1.csv", nth: 2, byte: 7}
  - kill: worker-2
    at: {log: "Processing chunk 2", nth: 1}
    restart: false
  - duplicate: queue-1-2
    at: {message: 2}
    late: true
  - pause: worker-2
    at: {time_s: 1.5}
    for_s: 2
"""


def parse(text: str) -> Plan:
    source = sources.parse(text, "plan.yaml")
    plan = plans.parse(source, NAMES)
    check_plan(plan, bundled.find("stateful"), TABLE, source)
    return plan


def problem(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_plan_is_read() -> None:
    plan = parse(GOOD)
    assert plan.seed == 42
    assert plan.steps[0] == Step("kill", "worker-2", AtCall("write", "metadata/CLI1.csv", 2, "inside", 7))
    assert plan.steps[2] == Step("duplicate", "queue-1-2", AtMessage("published", "queue-1-2", 2), {"late": True})


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("seed: 42", "seed: many", 1, "seed", "expected `int`"),
        ("seed: 42", "seeds: 42", 1, "seeds", "unknown here (known: seed, steps)"),
        ("seed: 42", "seed: 99999999999999999999", 1, "seed", "too large"),
        ("kill: worker-2", "kill: worker-9", 3, "steps[0].kill", "no program 'worker-9'"),
        ("kill: worker-2", "kill: 7", 3, "steps[0].kill", "expected `str`"),
        ("kill: worker-2", "kil: worker-2", 3, "steps[0]", "exactly one fault"),
        ("kill: worker-2", "kill: worker-2\n    pause: worker-2", 3, "steps[0]", "exactly one fault"),
        ("nth: 2", "nth: 0", 4, "steps[0].at.nth", "whole number from 1"),
        ("nth: 2", "nth: two", 4, "steps[0].at.nth", "whole number from 1"),
        ("nth: 2", "nth: true", 4, "steps[0].at.nth", "whole number from 1"),
        ("nth: 2", "nth: 2, life: -1", 4, "steps[0].at.life", "whole number from 0"),
        ("byte: 7", "byte: -7", 4, "steps[0].at.byte", "whole number from 0"),
        ("byte: 7", "byte: some", 4, "steps[0].at.byte", "whole number from 0"),
        ("byte: 7", "byte: 7, when: before", 4, "steps[0].at.byte", "go together"),
        ("byte: 7", "when: inside", 4, "steps[0].at.when", "go together"),
        ("byte: 7", "when: around", 4, "steps[0].at.when", "not before, inside or after"),
        ("write: ", "fsync: ", 4, "steps[0].at.byte", "only a write can be torn"),
        ("nth: 2", "fsync: x", 4, "steps[0].at.fsync", "two triggers at once"),
        ("nth: 2", "log: x", 4, "steps[0].at.log", "unknown here"),
        ("nth: 2", "[1]: 2", 4, "", "a key must be a word"),
        ("write: ", "writes: ", 4, "steps[0].at", "names no trigger"),
        ('write: "metadata/CLI1.csv"', "write: 7", 4, "steps[0].at.write", "not a text"),
        ('{log: "Processing chunk 2", nth: 1}', "now", 6, "steps[1].at", "a trigger is a mapping"),
        ("Processing chunk 2", "(", 6, "steps[1].at.log", "not a regular expression"),
        ("restart: false", "restart: 0", 7, "steps[1].restart", "not a bool"),
        ("restart: false", "reset: false", 7, "steps[1].reset", "no such option (it has: restart)"),
        ("restart: false", "restart: [1]", 7, "steps[1].restart", "an option is"),
        ("message: 2", "message: 0", 9, "steps[2].at.message", "whole number from 1"),
        ("message: 2", "time_s: 2", 9, "steps[2].at", "does not take this trigger"),
        ("time_s: 1.5", "time_s: -1", 12, "steps[3].at.time_s", "not a number of seconds"),
        ("time_s: 1.5", "time_s: .nan", 12, "steps[3].at.time_s", "too large"),
        ("for_s: 2", "for_s: long", 13, "steps[3].for_s", "not a float"),
        ("for_s: 2", "for_s: -1", 13, "steps[3].for_s", "less than 0"),
        ("for_s: 2", "for_s: .inf", 13, "steps[3].for_s", "too large"),
        ("for_s: 2", "for_s: 2\n    for_s: 3", 14, "", "stands here twice"),
    ],
)
def test_an_error_names_line_and_field(old: str, new: str, line: int, field: str, words: str) -> None:
    assert old in GOOD
    message = problem(GOOD.replace(old, new, 1))
    assert message.startswith(f"plan.yaml, line {line}{', ' + field if field else ''}: "), message
    assert words in message


@pytest.mark.parametrize("state", ["foo", "", "keep:", "min ", "dirs+", "1"])
def test_a_state_that_no_power_loss_leaves_is_refused(state: str) -> None:
    message = problem(f"steps:\n  - power-loss: worker-2\n    at: {{write: '*'}}\n    state: '{state}'\n")
    assert message.startswith("plan.yaml, line 4, steps[0].state: ")
    assert f"{state!r} is not one of min, dirs, dirs+half, dirs+all, or keep:PATH" in message


@pytest.mark.parametrize("state", ["min", "dirs", "dirs+half", "dirs+all", "keep:a b/ü.csv"])
def test_every_state_of_a_power_loss_is_read(state: str) -> None:
    parse(f"steps: [{{power-loss: worker-2, at: {{write: '*'}}, state: '{state}'}}]")


@pytest.mark.parametrize("text", ["", "steps: 3", "[]", "steps: [3]", "steps: [{kill: worker-2}]", "steps: {a: b}"])
def test_what_is_no_plan_at_all_is_one_line(text: str) -> None:
    assert problem(text).startswith("plan.yaml, line 1")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"seed: \x00", None])
def test_a_plan_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "plan.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        plans.load(path, NAMES)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_examples_of_the_triggers_are_read() -> None:
    for kind in KINDS:
        data = sources.parse(kind.example, "example").data
        assert isinstance(parse_trigger(data, "worker-2"), kind)


# A text that YAML and a journal can carry: no control characters, no lone surrogates.
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
numbers = st.integers(1, 10**9)
lives = st.none() | st.integers(0, 1000)
calls: st.SearchStrategy[Trigger] = st.one_of(
    st.builds(
        AtCall, st.sampled_from(OPERATIONS), texts, numbers, st.sampled_from(("before", "after")), st.none(), lives
    ),
    st.builds(
        AtCall,
        st.just("write"),
        texts,
        numbers,
        st.just("inside"),
        st.integers(0, 10**9) | st.sampled_from(("first", "middle", "last")),
        lives,
    ),
)
durations = st.floats(0.01, 1e6)
others: st.SearchStrategy[Trigger] = st.one_of(
    st.builds(AtLog, texts.map(lambda t: "".join(c for c in t if c.isalnum()) or "x"), numbers),
    st.builds(AtMessage, st.sampled_from(("published", "delivered", "acked")), texts, numbers),
    st.builds(AtTime, st.floats(0, 999_999, allow_subnormal=False)),
    st.builds(AtIntervals, durations, st.none(), st.floats(0.001, 1), st.none() | durations, st.booleans()),
    st.builds(AtIntervals, st.none(), durations, st.just(1.0), st.none() | durations, st.booleans()),
)
scalars = st.one_of(texts, st.integers(-(2**62), 2**62), st.booleans(), st.floats(-1e9, 1e9, allow_subnormal=False))
options = st.dictionaries(texts.filter(lambda t: t not in NAMES | {"at"}), scalars, max_size=3)
steps = st.builds(Step, st.sampled_from(sorted(NAMES)), texts, calls | others, options)


@pytest.mark.parametrize(
    ("step", "field", "words"),
    [
        ("kill: worker-2, at: {every: soon}", "steps[0].at.every", "not a duration such as 5s"),
        ("kill: worker-2, at: {every: 1s, mean: 2s}", "steps[0].at.mean", "two triggers at once"),
        ("kill: worker-2, at: {every: 1s, probability: 2}", "steps[0].at.probability", "from 0.001 to 1"),
        ("kill: worker-2, at: {mean: 1s, probability: 0.5}", "steps[0].at.probability", "unknown here"),
        ("kill: worker-2, at: {every: 1s, for: ever}", "steps[0].at.for", "not a duration"),
        ("kill: worker-2, at: {every: 1s, each: 3}", "steps[0].at.each", "not true or false"),
        ("kill: 'w*', at: {write: x}", "steps[0].kill", "no program 'w*'"),
        ("kill: 'w?', at: {every: 1s}", "steps[0].kill", "no program matches 'w?'"),
        ("kill: 'label:a=b', at: {every: 1s}", "steps[0].kill", "no program has the label"),
        ("duplicate: queue-1-2, at: {every: 1s}", "steps[0].at", "does not take this trigger"),
    ],
)
def test_a_step_that_recurs_is_checked_too(step: str, field: str, words: str) -> None:
    message = problem(f"steps: [{{{step}}}]")
    assert f", {field}: " in message and words in message


def test_only_a_step_that_recurs_may_name_several_programs() -> None:
    assert parse("steps: [{kill: 'worker-[12],worker-2', at: {mean: 10s}}]").steps[0].at == AtIntervals(mean_s=10)


def test_nothing_stays_dead_where_the_engine_starts_it_again() -> None:
    scenario = bundled.find("go-worker-compose")
    at = parse_trigger({"time_s": 1.0}, "totals")
    check_plan(Plan(0, (Step("kill", "totals", at, {"restart": True}),)), scenario, TABLE)
    with pytest.raises(UsageError, match=r"step 1 of the plan, restart: the engine starts again what dies"):
        check_plan(Plan(0, (Step("kill", "totals", at, {"restart": False}),)), scenario, TABLE)


@given(st.builds(Plan, st.integers(-(2**62), 2**62), st.lists(steps, max_size=4).map(tuple)))
def test_a_plan_that_is_dumped_is_read_back_as_it_was(plan: Plan) -> None:
    assert plans.parse(sources.parse(plans.dump(plan), "dumped"), NAMES) == plan


def test_a_plan_names_each_fault_of_the_table_with_each_trigger_it_takes() -> None:
    examples: dict[type[Trigger], str] = {kind: kind.example for kind in KINDS}
    for fault in TABLE.values():
        for kind in fault.triggers:
            target = {"program": "worker-2", "queue": "queue-1-2", "broker": "broker"}[fault.target]
            plan = parse(f"steps: [{{{fault.name}: {target}, at: {examples[kind]}}}]")
            assert plan.steps[0].fault == fault.name
