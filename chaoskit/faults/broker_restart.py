"""broker-restart: the broker stops in order, as in a deployment, and is started again.

It closes every connection itself and writes down what is persistent. Queues and messages that are not durable are gone
all the same.
"""

from chaoskit.faults.base import Fault, Hands, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    hands.stop_broker(float(FAULT.option(step, "for_s")))


FAULT = Fault(
    name="broker-restart",
    summary="stop the broker in order and start it again",
    target="broker",
    triggers=(AtLog, AtMessage, AtTime, AtIntervals),
    options={"for_s": Option(float, 0.0, "seconds between its end and its start")},
    act=_act,
    messages=True,
)
