"""cut: break the program's connections to the broker, as a network that resets them would."""

from chaoskit.faults.base import Fault, Hands
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    hands.cut(step.target)


FAULT = Fault(
    name="cut",
    summary="break the program's connections to the broker",
    target="program",
    triggers=(AtLog, AtMessage, AtTime, AtIntervals),
    act=_act,
    messages=True,
    breaks="connection",
)
