"""delay: a message, and what follows it on its connection, is held back for a while."""

from chaoskit.faults.base import Fault, MessageAction, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtMessage


def _on_message(step: Step) -> MessageAction:
    return MessageAction("delay", seconds=float(FAULT.option(step, "for_s")))


FAULT = Fault(
    name="delay",
    summary="hold a message, and what follows it on its connection",
    target="queue",
    triggers=(AtMessage,),
    options={"for_s": Option(float, 0.5, "seconds it is held")},
    on_message=_on_message,
    messages=True,
)
