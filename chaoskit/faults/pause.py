"""pause: SIGSTOP the program and let it go on after `for_s` seconds, as a long stall of its machine would."""

from chaoskit.faults.base import Fault, Hands, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    hands.pause(step.target, float(FAULT.option(step, "for_s")))


FAULT = Fault(
    name="pause",
    summary="SIGSTOP the program for a while",
    target="program",
    triggers=(AtLog, AtMessage, AtTime, AtIntervals),
    options={"for_s": Option(float, 1.0, "seconds until it goes on")},
    act=_act,
)
