"""stop: ask the program to end with SIGTERM, as a deployment does; it is started again.

This is what `docker restart` does (and with `restart: false` what `docker stop` does): SIGTERM, SIGKILL when it has not
ended after `grace_s` seconds, and a start. So there is no fault of the name restart.
"""

from chaoskit.faults.base import Fault, Hands, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtIntervals, AtLog, AtMessage, AtTime


def _act(step: Step, hands: Hands) -> None:
    restart = bool(FAULT.option(step, "restart"))
    hands.stop(step.target, restart=restart, grace_s=float(FAULT.option(step, "grace_s")))


FAULT = Fault(
    name="stop",
    summary="SIGTERM the program and start it again, as `docker restart` does",
    target="program",
    triggers=(AtLog, AtMessage, AtTime, AtIntervals),
    options={
        "grace_s": Option(float, 10.0, "seconds until it is sent SIGKILL if it has not ended"),
        "restart": Option(bool, True, "false leaves it dead"),
    },
    act=_act,
    kills=True,
)
