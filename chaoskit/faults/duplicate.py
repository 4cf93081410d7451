"""duplicate: a message is sent to its queue again, at once or after everything else was handled."""

from chaoskit.faults.base import Fault, MessageAction, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtMessage


def _on_message(step: Step) -> MessageAction:
    late = bool(FAULT.option(step, "late"))
    return MessageAction("duplicate", copies=int(FAULT.option(step, "copies")), late=late)


FAULT = Fault(
    name="duplicate",
    summary="send a message to its queue twice",
    target="queue",
    triggers=(AtMessage,),
    options={
        "copies": Option(int, 1, "how many copies beside the original"),
        "late": Option(bool, False, "true sends the copies when everything else was handled"),
    },
    on_message=_on_message,
    messages=True,
)
