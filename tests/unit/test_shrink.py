"""Shrinking, against a made-up oracle instead of runs."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtCall, AtTime
from chaoskit.planning.shrink import Shrinker


def steps(count: int) -> tuple[Step, ...]:
    return tuple(Step("kill", f"w{i}", AtTime(float(i))) for i in range(count))


def shrunk(plan: Plan, fails: Callable[[Plan], bool], limit: int = 2000) -> tuple[Plan, int]:
    shrinker = Shrinker(plan)
    runs = 0
    while shrinker.candidate is not None:
        runs += 1
        assert runs < limit, "it does not come to an end"
        shrinker.failed(fails(shrinker.candidate))
    return shrinker.best, runs


@given(st.integers(1, 24), st.sets(st.integers(0, 23), min_size=1, max_size=4))
def test_exactly_the_steps_that_matter_are_left(count: int, wanted: set[int]) -> None:
    needed = [step for i, step in enumerate(steps(count)) if i in wanted]
    plan = Plan(0, steps(count))
    best, _ = shrunk(plan, lambda p: all(step in p.steps for step in needed))
    assert list(best.steps) == needed if needed else len(best.steps) == 1


def test_twenty_steps_shrink_to_two_in_few_runs() -> None:
    plan = Plan(0, steps(20))
    needed = (plan.steps[3], plan.steps[17])
    best, runs = shrunk(plan, lambda p: all(step in p.steps for step in needed))
    assert best.steps == needed
    assert runs < 100


def test_a_plan_is_never_shrunk_to_nothing() -> None:
    best, _ = shrunk(Plan(0, steps(5)), lambda p: True)
    assert len(best.steps) == 1


def test_triggers_become_simpler_while_it_still_fails() -> None:
    plan = Plan(0, (Step("kill", "w", AtCall("write", "a", 9, "inside", 40, 0)),))
    best, _ = shrunk(plan, lambda p: True)
    assert best.steps[0].at == AtCall("write", "a", 1, "before", None, None)


def test_a_trigger_that_matters_stays() -> None:
    step = Step("kill", "w", AtCall("write", "a", 9, "inside", 40, 0))
    best, _ = shrunk(Plan(0, (step,)), lambda p: p.steps[0].at == step.at)
    assert best.steps == (step,)


def test_options_that_do_not_matter_go() -> None:
    step = Step("power-loss", "w", AtCall("write", "a"), {"state": "dirs"})
    assert shrunk(Plan(0, (step,)), lambda p: True)[0].steps[0].options == {}
    assert shrunk(Plan(0, (step,)), lambda p: bool(p.steps[0].options))[0].steps[0].options == {"state": "dirs"}


def test_later_kills_move_to_an_earlier_life_when_kills_before_them_are_left_out() -> None:
    plan = Plan(0, tuple(Step("kill", "w", AtCall("write", "a", 1, "before", None, life)) for life in range(8)))

    def fails(candidate: Plan) -> bool:
        lives = [step.at.life for step in candidate.steps if isinstance(step.at, AtCall)]
        # Two kills matter, and a step whose life never comes does nothing.
        return lives[:2] == [0, 1]

    best, _ = shrunk(plan, fails)
    assert len(best.steps) == 2
