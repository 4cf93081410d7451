"""Which experiments an exploration consists of, without making any."""

import msgspec

from chaoskit.model.events import AnyEvent, Call, FaultFired, Message, ProgramExited, ProgramStarted
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall, AtMessage
from chaoskit.planning.experiments import FAULTS, Experiment, Place, at_place, doubled, recovery, survey
from chaoskit.planning.frontier import Frontier

WRITE = Place("w", 0, "write", "a.csv", 2, 10, ("q", 1), ("min", "dirs"))
FSYNC = Place("w", 0, "fsync", "a.csv", 1, 0)


def drained(frontier: Frontier) -> list[Experiment]:
    found = []
    while (experiment := frontier.take()) is not None:
        found.append(experiment)
    return found


def test_a_write_is_killed_before_inside_at_three_bytes_and_after() -> None:
    positions = [step.at for e in at_place(WRITE, ("kill",)) for step in e.plan.steps if isinstance(step.at, AtCall)]
    assert [(at.when, at.byte) for at in positions] == [
        ("before", None),
        ("inside", 1),
        ("inside", 5),
        ("inside", 9),
        ("after", None),
    ]
    assert {(at.op, at.path, at.nth, at.life) for at in positions} == {("write", "a.csv", 2, 0)}


def test_a_write_of_two_bytes_has_one_inside_and_of_one_byte_none() -> None:
    for size, inside in ((2, [1]), (1, []), (3, [1, 2])):
        place = Place("w", 0, "write", "a", 1, size)
        ats = [e.plan.steps[0].at for e in at_place(place, ("kill",))]
        assert [at.byte for at in ats if isinstance(at, AtCall) and at.when == "inside"] == inside


def test_other_calls_have_no_inside() -> None:
    assert len(list(at_place(FSYNC, ("kill",)))) == 2
    assert list(at_place(FSYNC, ("short-write",))) == []


def test_power_loss_is_tried_for_each_state_that_differs() -> None:
    steps = [e.plan.steps for e in at_place(WRITE, ("power-loss",))]
    assert [(s[0].fault, s[0].options) for s in steps] == [
        ("power-loss", {"state": "min"}),
        ("power-loss", {"state": "dirs"}),
    ]
    assert list(at_place(FSYNC, ("power-loss",))) == []


def test_what_does_not_kill_is_followed_by_a_kill_at_the_next_delivery() -> None:
    for fault in ("short-write", "enospc", "eio", "eintr"):
        for experiment in at_place(WRITE, (fault,)):
            assert experiment.plan.steps[-1] == Step("kill", "w", AtMessage("delivered", "q", 2))
    last = Place("w", 0, "write", "a.csv", 2, 10, None)
    assert all(len(e.plan.steps) == 1 for e in at_place(last, ("eio",)))


def test_an_errno_comes_once_and_until_healed() -> None:
    options = [e.plan.steps[0].options for e in at_place(WRITE, ("enospc",))]
    assert options[0] == {} and options[1]["for_s"]


def test_every_experiment_has_an_id_of_its_own() -> None:
    ids = [e.id for place in (WRITE, FSYNC) for e in at_place(place, FAULTS)]
    assert len(ids) == len(set(ids)) > 10


def test_places_found_later_are_visited_once_and_repeat_what_led_there() -> None:
    frontier = Frontier(("kill",), 1)
    frontier.add_control([WRITE], ())
    first, *_ = drained(frontier)
    repair = Place("w", 1, "truncate", "a.csv", 1, 0)
    frontier.add_result(first, [WRITE, repair], [], "state")
    frontier.add_result(first, [repair], [], "state")
    new = drained(frontier)
    assert [e.place for e in new] == [repair.name] * 2
    assert all(e.plan.steps[0] == first.plan.steps[0] and len(e.plan.steps) == 2 for e in new)


def test_depth_two_adds_the_recovery_and_merges_equal_futures() -> None:
    frontier = Frontier(("kill",), 2)
    frontier.add_control([FSYNC], ())
    first, second = drained(frontier)
    again = Place("w", 1, "fsync", "a.csv", 1, 0)
    frontier.add_result(first, [], [again], "same")
    frontier.add_result(second, [], [again], "same")
    assert [(e.depth, len(e.plan.steps)) for e in drained(frontier)] == [(2, 2), (2, 2)]
    assert frontier.merged == 1


def test_depth_one_leaves_recoveries_alone() -> None:
    frontier = Frontier(("kill",), 1)
    frontier.add_control([FSYNC], ())
    first, _ = drained(frontier)
    frontier.add_result(first, [], [Place("w", 1, "fsync", "a.csv", 1, 0)], "state")
    assert drained(frontier) == []


def test_only_narrows_by_name() -> None:
    frontier = Frontier(("kill",), 1, "fsync:*")
    frontier.add_control([WRITE, FSYNC], ())
    assert {e.place for e in drained(frontier)} == {FSYNC.name}
    assert frontier.found == 2


def call(life: int, op: str, nth: int) -> Call:
    return Call(0, "w", life, op, "a.csv", nth, 4)


def test_a_survey_knows_how_many_messages_came_before_each_call() -> None:
    events: list[AnyEvent] = [
        call(0, "create", 1),
        Message(0, "w", "delivered", "q", 1),
        call(0, "write", 1),
        Message(0, "w", "delivered", "q", 2),
        call(0, "write", 2),
    ]
    assert [place.deliveries for place in survey(events, ["w"])] == [None, ("q", 1), None]


def test_a_recovery_ends_at_the_first_acknowledgement_of_its_own() -> None:
    events: list[AnyEvent] = [
        call(0, "write", 1),
        FaultFired(0, 0, "w/0/write:a.csv#1"),
        ProgramExited(0, "w", 0, -9, True),
        ProgramStarted(0, "w", 1, 5),
        Message(0, "w", "acked", "q", 1),
        call(1, "truncate", 1),
        Message(0, "w", "delivered", "q", 2),
        call(1, "write", 1),
        Message(0, "w", "acked", "q", 2),
        call(1, "write", 2),
    ]
    assert [(p.op, p.nth) for p in recovery(events, ["w"])] == [("truncate", 1), ("write", 1)]
    assert recovery(events[:2], ["w"]) == []


def test_every_message_to_the_target_is_doubled_once() -> None:
    events: list[AnyEvent] = [
        Message(0, "runner", "published", "q", 1),
        Message(0, "w", "delivered", "q", 1),
        Message(0, "w", "published", "out", 1),
        Message(0, "chaoskit", "published", "q", 1, injected=True),
        Message(0, "runner", "published", "q", 2),
    ]
    steps = doubled(events, ["w"], late=True)
    assert [(s.target, s.at, s.options) for s in steps] == [
        ("q", AtMessage("published", "q", 1), {"late": True}),
        ("q", AtMessage("published", "q", 2), {"late": True}),
    ]


def test_the_places_of_a_run_with_doubled_messages_are_visited_with_the_messages_doubled() -> None:
    steps = (Step("duplicate", "q", AtMessage("published", "q", 1), {"late": True}),)
    frontier = Frontier(("kill",), 1)
    frontier.add_control([FSYNC], ())
    frontier.add_control([FSYNC], steps)
    made = drained(frontier)
    assert [len(e.plan.steps) for e in made] == [1, 1, 2, 2]
    later = msgspec.structs.replace(FSYNC, life=1)
    for experiment in made:
        frontier.add_result(experiment, [FSYNC, later], [], "")
    assert drained(frontier) == [], "a place is visited once with doubled messages and once without"


def test_with_messages_doubled_a_place_is_another_place() -> None:
    frontier = Frontier(("kill",), 1)
    steps = (Step("duplicate", "q", AtMessage("published", "q", 1), {"late": True}),)
    frontier.add_control([FSYNC], ())
    frontier.add_control([FSYNC], steps)
    found = drained(frontier)
    assert [e.plan.steps[:-1] for e in found] == [(), (), steps, steps]
    frontier.add_result(found[2], [Place("w", 1, "fsync", "a.csv", 1, 0)], [], "state")
    assert drained(frontier) == []


def test_the_sends_of_recoveries_come_last() -> None:
    frontier = Frontier(("kill",), 2)
    frontier.add_control([FSYNC], ())
    first, _ = drained(frontier)
    frontier.add_result(first, [], [Place("w", 1, "send", "broker", 1, 9), Place("w", 1, "write", "b", 1, 1)], "state")
    assert len(frontier) == 4
    assert [e.op for e in drained(frontier)] == ["write", "write", "send", "send"]
