"""The schedule of a step that recurs: the same seed gives the same moments, on average those that were asked for."""

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.model import triggers
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtIntervals, TriggerError
from chaoskit.planning.schedule import Moment, moments

NAMES = ("one", "two", "three")


def first(plan: Plan, count: int, index: int = 0) -> list[Moment]:
    return list(islice(moments(plan, index, NAMES), count))


def plan(seed: int, *triggers_: AtIntervals) -> Plan:
    return Plan(seed, tuple(Step("kill", "*", at) for at in triggers_))


@given(st.integers(0, 2**53), st.sampled_from([AtIntervals(every_s=5, probability=0.3), AtIntervals(mean_s=10)]))
def test_the_same_seed_gives_the_same_schedule(seed: int, at: AtIntervals) -> None:
    assert first(plan(seed, at), 20) == first(plan(seed, at), 20)


def test_other_seeds_give_other_schedules() -> None:
    at = AtIntervals(mean_s=10)
    assert len({repr(first(plan(seed, at), 5)) for seed in range(100)}) == 100


def test_a_period_is_kept_and_a_probability_leaves_some_of_it_out() -> None:
    always = first(plan(1, AtIntervals(every_s=2)), 5)
    assert [m.t_s for m in always] == [2, 4, 6, 8, 10]
    sometimes = first(plan(1, AtIntervals(every_s=2, probability=0.3)), 1000)
    assert all(m.t_s % 2 == 0 for m in sometimes)
    assert 0.25 < 1000 * 2 / sometimes[-1].t_s < 0.35


def test_random_gaps_have_the_mean_that_was_asked_for_and_are_exponential() -> None:
    times = [0.0, *(m.t_s for m in first(plan(3, AtIntervals(mean_s=10)), 4000))]
    gaps = [b - a for a, b in pairwise(times)]
    assert 9.5 < sum(gaps) / len(gaps) < 10.5
    # Of an exponential distribution the share 1/e is longer than the mean.
    assert 0.34 < sum(gap > 10 for gap in gaps) / len(gaps) < 0.40


def test_nothing_comes_after_the_time_that_was_given() -> None:
    for at in (AtIntervals(every_s=1, for_s=5), AtIntervals(every_s=1, probability=0.001, for_s=5)):
        assert [m.t_s for m in moments(plan(1, at), 0, NAMES)] == ([1, 2, 3, 4, 5] if at.probability == 1 else [])
    assert all(m.t_s <= 30 for m in moments(plan(1, AtIntervals(mean_s=1, for_s=30)), 0, NAMES))


def test_several_targets_are_hurt_at_random_or_in_turn() -> None:
    chosen = [m.target for m in first(plan(1, AtIntervals(every_s=1)), 300)]
    assert all(70 < chosen.count(name) < 130 for name in NAMES)
    assert [m.target for m in first(plan(1, AtIntervals(every_s=1, each=True)), 4)] == ["one", "two", "three", "one"]


def test_equal_steps_have_schedules_of_their_own_and_keep_them_when_others_are_left_out() -> None:
    at, other = AtIntervals(mean_s=10), AtIntervals(mean_s=20)
    both = plan(1, other, at, at)
    assert first(both, 5, 1) != first(both, 5, 2)
    assert first(both, 5, 1) == first(plan(1, at), 5)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("1.5 s", 1.5), (3, 3)]
)
def test_durations_have_units(text: object, seconds: float) -> None:
    assert triggers.parse_duration(text, "every") == seconds


@pytest.mark.parametrize("text", ["5", "s", "-1s", "5 weeks", "", True, None, "1e3s", "0s", "1ms", float("nan"), "٣s"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(TriggerError) as caught:
        triggers.parse_duration(text, "every")
    assert caught.value.field == "every"
