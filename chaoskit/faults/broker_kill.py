"""broker-kill: SIGKILL the broker and start it again after `for_s` seconds, with what it had on its disk.

Durable queues and the persistent messages in them that were confirmed are promised; nothing else is.
"""

from chaoskit.faults.base import Fault, Hands, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    hands.kill_broker(float(FAULT.option(step, "for_s")))


FAULT = Fault(
    name="broker-kill",
    summary="SIGKILL the broker, start it again a while later",
    target="broker",
    triggers=(AtLog, AtMessage, AtTime, AtIntervals),
    options={"for_s": Option(float, 1.0, "seconds until it is started again")},
    act=_act,
    messages=True,
)
