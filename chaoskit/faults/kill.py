"""kill: SIGKILL the whole program before, after or inside a call, at a line, at a message or at a time."""

from chaoskit.faults.base import CallAction, Fault, Hands, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall, AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    hands.kill(step.target, restart=bool(FAULT.option(step, "restart")))


FAULT = Fault(
    name="kill",
    summary="SIGKILL the program; chaoskit starts it again",
    target="program",
    triggers=(AtCall, AtLog, AtMessage, AtTime, AtIntervals),
    options={"restart": Option(bool, True, "false leaves it dead")},
    act=_act,
    on_call=lambda step: CallAction("kill"),
    kills=True,
)
