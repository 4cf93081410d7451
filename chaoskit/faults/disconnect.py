"""disconnect: the program loses its network for `for_s` seconds, then gets it back, as in a partition.

Nothing is closed: bytes on their way are held or lost, new connections fail. On Compose the container leaves its
networks, and comes back with the same names (and address, where the engine gives it). On the local runtime the
program's way to the broker is a black hole; what else it talks to is not cut.
"""

from chaoskit.faults.base import Fault, Hands, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    hands.disconnect(step.target, float(FAULT.option(step, "for_s")))


FAULT = Fault(
    name="disconnect",
    summary="take the program's network away for a while",
    target="program",
    triggers=(AtLog, AtMessage, AtTime, AtIntervals),
    options={"for_s": Option(float, 1.0, "seconds until it has its network again")},
    act=_act,
    messages=True,
    breaks="network",
)
