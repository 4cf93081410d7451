"""power-loss: kill the program, and lose what no fsync made durable, before it starts again.

`state` says what the disk kept: `min` nothing more than was synced; `dirs` all names, the data only where synced;
`dirs+half` also half of each unsynced tail; `dirs+all` everything but what a failed fsync has dropped; `keep:PATH` as
`min`, and all of that one file. docs/crash-model.md says which promises a state stands for.
"""

from chaoskit.faults.base import CallAction, Fault, Option
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall


def _on_call(step: Step) -> CallAction:
    return CallAction("kill", power_loss=str(FAULT.option(step, "state")))


_STATE = Option(
    str,
    "min",
    "what the disk kept: min, dirs, dirs+half, dirs+all, or keep:PATH",
    pattern=r"(min|dirs|dirs\+half|dirs\+all|keep:.+)",
    words="min, dirs, dirs+half, dirs+all, or keep:PATH",
)

FAULT = Fault(
    name="power-loss",
    summary="kill the program and lose what no fsync made durable",
    target="program",
    triggers=(AtCall,),
    options={"state": _STATE},
    on_call=_on_call,
    kills=True,
)
