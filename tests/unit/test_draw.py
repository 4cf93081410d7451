"""Drawing a plan: the same seed and journal give the same plan, and every step that is drawn fires."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, Call, Message
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtCall, AtMessage
from chaoskit.planning.draw import draw

Made = tuple[str, str, int]


def control(calls: Sequence[Made], messages: int = 4) -> list[AnyEvent]:
    """The journal of a control run in which worker made these calls (op, path, size) and got these messages."""
    counts: Counter[tuple[str, str]] = Counter()
    events: list[AnyEvent] = [Message(0.1, "sender", "published", "in", n) for n in range(1, messages + 1)]
    events += [Message(0.1, "worker", "delivered", "in", n) for n in range(1, messages + 1)]
    for op, path, size in calls:
        counts[op, path] += 1
        events.append(Call(0.2, "worker", 0, op, path, counts[op, path], size, size))
    return events


made = st.lists(
    st.tuples(st.sampled_from(("write", "fsync", "create", "unlink")), st.sampled_from("abc"), st.integers(1, 40)),
    min_size=1,
    max_size=40,
)


class DeterministicWorker:
    """A worker that makes its calls in order, and after a kill goes on at the call that was not finished.

    Before it goes on it does `recovery`, in every life but the first, as a worker that rebuilds does.
    """

    def __init__(self, calls: Sequence[Made], recovery: Sequence[Made]) -> None:
        self.calls, self.recovery = calls, recovery
        self.done = 0

    def life(self, number: int, steps: Sequence[Step]) -> Step | None:
        """Live until a step for this life fires; that step, or None when all work is done."""
        counts: Counter[tuple[str, str]] = Counter()
        again = [(call, False) for call in (self.recovery if number else ())]
        for (op, path, _), is_work in again + [(call, True) for call in self.calls[self.done :]]:
            counts[op, path] += 1
            counts["change", "*"] += 1
            places = {(op, path, counts[op, path]), ("change", "*", counts["change", "*"])}
            for step in steps:
                at = step.at
                assert isinstance(at, AtCall)
                if at.life == number and (at.op, at.path, at.nth) in places:
                    self.done += is_work and at.when == "after"
                    return step
            self.done += is_work
        return None


@given(made, st.integers(0, 2**32), st.data())
def test_every_kill_that_is_drawn_fires_in_its_life(calls: list[Made], seed: int, data: st.DataObject) -> None:
    kills = data.draw(st.integers(0, len(calls)))
    plan = draw(seed, control(calls), ["worker"], kills, 0)
    assert len(plan.steps) == kills
    # What a recovery repeats can only make a call come earlier, never keep it from coming.
    recovery = data.draw(st.lists(st.sampled_from(calls), max_size=3))
    worker = DeterministicWorker(calls, recovery)
    assert [worker.life(n, plan.steps) for n in range(kills)] == list(plan.steps)
    assert worker.life(kills, plan.steps) is None


@given(made, st.integers(0, 2**32), st.integers(0, 5), st.integers(0, 4))
def test_the_same_seed_and_journal_give_the_same_plan(calls: list[Made], seed: int, kills: int, copies: int) -> None:
    kills = min(kills, len(calls))
    assert draw(seed, control(calls), ["worker"], kills, copies) == draw(
        seed, control(calls), ["worker"], kills, copies
    )


@given(made, st.integers(0, 2**32))
def test_asking_for_duplicates_does_not_move_the_kills(calls: list[Made], seed: int) -> None:
    alone = draw(seed, control(calls), ["worker"], 1, 0)
    both = draw(seed, control(calls), ["worker"], 1, 3)
    assert both.steps[:1] == alone.steps
    assert {step.fault for step in both.steps[1:]} == {"duplicate"}


@given(made, st.integers(0, 2**32), st.integers(0, 9))
def test_as_many_copies_are_drawn_as_were_asked_for(calls: list[Made], seed: int, copies: int) -> None:
    plan = draw(seed, control(calls), ["worker"], 0, copies)
    assert len({step.at for step in plan.steps}) == len(plan.steps)
    assert sum(int(step.options.get("copies", 1)) for step in plan.steps) == copies
    for step in plan.steps:
        assert isinstance(step.at, AtMessage)
        assert (step.target, step.at.event, step.at.queue) == ("in", "published", "in")
        assert 1 <= step.at.nth <= 4


def test_different_seeds_give_different_plans() -> None:
    events = control([("write", "a", 30)] * 30)
    assert len({repr(draw(seed, events, ["worker"], 3, 0).steps) for seed in range(50)}) > 40


def test_a_tear_of_the_first_life_leaves_at_least_a_byte_and_never_all() -> None:
    for seed in range(200):
        at = draw(seed, control([("write", "a", 7)]), ["worker"], 1, 0).steps[0].at
        assert isinstance(at, AtCall)
        if at.when == "inside":
            assert isinstance(at.byte, int)
            assert 1 <= at.byte <= 6


def test_kills_fall_on_writes_and_beside_them_while_there_are_enough() -> None:
    calls = [("unlink", f"far{n}", 0) for n in range(20)] + [("create", "a", 0), ("write", "a", 9), ("fsync", "a", 0)]
    for seed in range(100):
        plan = draw(seed, control(calls), ["worker"], 3, 0)
        assert {step.at.path for step in plan.steps if isinstance(step.at, AtCall)} <= {"a", "*"}


def test_some_kills_fall_on_the_first_calls_of_a_later_life_whatever_they_are() -> None:
    calls = [("write", "a", 9)] * 30
    steps = [step for seed in range(50) for step in draw(seed, control(calls), ["worker"], 4, 0).steps]
    early = [step.at for step in steps if isinstance(step.at, AtCall) and step.at.op == "change"]
    assert 10 < len(early) < 100
    assert all(at.life and at.nth <= 6 and at.when != "inside" for at in early)


def test_sends_and_other_programs_are_no_places_for_a_kill() -> None:
    events = [
        *control([("write", "a", 5)]),
        Call(0.3, "worker", 0, "send", "broker", 1, 5, 5),
        Call(0.3, "other", 0, "write", "b", 1, 5, 5),
    ]
    for seed in range(50):
        (step,) = draw(seed, events, ["worker"], 1, 0).steps
        assert isinstance(step.at, AtCall)
        assert (step.target, step.at.path) == ("worker", "a")


def test_two_targets_are_counted_each_by_itself() -> None:
    events: list[AnyEvent] = []
    for n in range(1, 9):
        events += [Call(0.1, name, 0, "write", "shared", n, 5, 5) for name in ("one", "two")]
    for seed in range(50):
        plan = draw(seed, events, ["one", "two"], 6, 0)
        for name in ("one", "two"):
            ats = [step.at for step in plan.steps if step.target == name]
            assert [at.life for at in ats if isinstance(at, AtCall)] == list(range(len(ats)))
            assert sum(at.nth for at in ats if isinstance(at, AtCall)) <= 8


def test_more_kills_than_places_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match=r"only 2 crash points.*ask for fewer"):
        draw(1, control([("write", "a", 5)] * 2), ["worker"], 3, 0)


def test_duplicates_without_a_message_to_the_target_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="no message to the target"):
        draw(1, [], ["worker"], 0, 1)


def test_without_a_tap_kills_fall_on_messages_of_the_target() -> None:
    plan = draw(5, control([]), ["worker"], 3, 0)
    assert len(plan.steps) == 3
    assert {step.target for step in plan.steps} == {"worker"}
    assert all(isinstance(step.at, AtMessage) and step.at.event == "delivered" for step in plan.steps)
    with pytest.raises(UsageError, match="only 4 messages"):
        draw(5, control([]), ["worker"], 5, 0)


def test_nothing_asked_for_is_an_empty_plan() -> None:
    assert draw(9, [], ["worker"], 0, 0) == Plan(9, drawn=True)


def unequal() -> list[AnyEvent]:
    """One target that makes a hundred calls, and one that makes five."""
    return [
        *(Call(0.1, "busy", 0, "write", "a", n, 5, 5) for n in range(1, 101)),
        *(Call(0.2, "calm", 0, "write", "b", n, 5, 5) for n in range(1, 6)),
    ]


def test_kills_at_random_hurt_each_target_as_often_however_much_it_writes() -> None:
    hurt = Counter(draw(seed, unequal(), ["busy", "calm"], 1, 0).steps[0].target for seed in range(400))
    assert 160 < hurt["calm"] < 240


@pytest.mark.parametrize(("kills", "shares"), [(1, (1, 0)), (2, (1, 1)), (5, (3, 2)), (10, (5, 5))])
def test_kills_are_dealt_out_to_each_target(kills: int, shares: tuple[int, int]) -> None:
    hurt = Counter(step.target for step in draw(3, unequal(), ["busy", "calm"], kills, 0, each=True).steps)
    assert (hurt["busy"], hurt["calm"]) == shares


def test_a_target_that_cannot_take_its_share_is_named() -> None:
    with pytest.raises(UsageError, match="only 5 crash points of calm"):
        draw(3, unequal(), ["busy", "calm"], 12, 0, each=True)
    with pytest.raises(UsageError, match=r"idle made no crash point .* WORKER_DATA_DIR"):
        draw(3, unequal(), ["busy", "idle"], 2, 0, each=True)


def test_a_target_that_neither_writes_nor_gets_messages_is_named_with_what_to_change() -> None:
    with pytest.raises(UsageError, match=r"^idle made no crash point .* name another `target`$"):
        draw(1, unequal(), ["idle"], 1, 0)
