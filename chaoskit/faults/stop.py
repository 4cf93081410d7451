"""stop: ask the program to end with SIGTERM, as a deployment does; it is started again."""

from chaoskit.faults.base import Fault, Hands
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    hands.stop(step.target)


FAULT = Fault(
    name="stop",
    summary="SIGTERM the program, as a deployment does; chaoskit starts it again",
    target="program",
    triggers=(AtLog, AtMessage, AtTime, AtIntervals),
    act=_act,
    kills=True,
)
