"""Steps at messages, decided beside the proxy: the same decisions as the engine's own executor makes."""

from chaoskit.agent.messages import MessageStep, MessageSteps
from chaoskit.engine.remote import message_steps
from chaoskit.faults import TABLE
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import parse
from chaoskit.proxy import FORWARD, Delay, Duplicate, Seen


class _Executor:
    """What `message_steps` reads of an executor."""

    def __init__(self, *steps: Step) -> None:
        self.plan = Plan(0, steps)


def _step(fault: str, target: str, at: dict[str, object], **options: object) -> Step:
    return Step(fault, target, parse(at, target), options)  # type: ignore[arg-type]


def _steps(*steps: Step, alive: bool = True) -> MessageSteps:
    made = [MessageStep.from_json(step) for step in message_steps(_Executor(*steps))]  # type: ignore[arg-type]
    return MessageSteps(made, lambda program: alive)


def _seen(nth: int, kind: str = "published", queue: str = "q", injected: bool = False) -> Seen:
    return Seen(kind, "test-runner", queue, nth, injected=injected)  # type: ignore[arg-type]


def test_the_second_message_is_doubled_and_no_other() -> None:
    steps = _steps(_step("duplicate", "q", {"message": 2}))
    assert steps.decide(_seen(1)).action == FORWARD
    hit = steps.decide(_seen(2))
    assert (hit.action, hit.fired) == (Duplicate(1, False), (0,))
    assert steps.decide(_seen(2)).fired == ()


def test_a_copy_that_chaoskit_published_is_nobodys_message() -> None:
    steps = _steps(_step("duplicate", "q", {"message": 1}))
    assert steps.decide(_seen(1, injected=True)).action == FORWARD
    assert steps.decide(_seen(1)).fired == (0,)


def test_two_steps_at_one_message_are_not_both_carried_out() -> None:
    delay = _step("delay", "q", {"message": 1}, for_s=0.5)
    decision = _steps(_step("duplicate", "q", {"message": 1}), delay).decide(_seen(1))
    assert (decision.fired, decision.failed) == ((0,), (1,))


def test_a_kill_at_a_message_is_a_signal_sent_while_it_is_held() -> None:
    decision = _steps(_step("kill", "worker-2", {"delivered": "q", "nth": 2})).decide(_seen(2, "delivered"))
    assert [(step.target, step.signal) for step in decision.due] == [("worker-2", 9)]


def test_a_kill_waits_for_a_message_that_finds_the_program_alive() -> None:
    kill = _step("kill", "worker-2", {"delivered": "q", "nth": 1})
    assert _steps(kill, alive=False).decide(_seen(1, "delivered")).due == ()
    assert len(_steps(kill).decide(_seen(5, "delivered")).due) == 1


def test_every_fault_on_messages_has_its_action() -> None:
    made = {
        name: MessageStep.from_json(step).action()
        for name, fault in TABLE.items()
        if fault.on_message is not None
        for step in message_steps(_Executor(_step(name, "q", {"message": 1})))  # type: ignore[arg-type]
    }
    assert {type(action) for action in made.values()} == {Duplicate, Delay}


def test_what_is_cancelled_does_not_happen() -> None:
    steps = _steps(_step("kill", "worker-2", {"delivered": "q", "nth": 1}))
    steps.cancel()
    assert steps.decide(_seen(1, "delivered")) == (FORWARD, (), (), ())
