"""short-write: a write takes fewer bytes than it was given and says so, as a nearly full disk or a signal makes it."""

from chaoskit.faults.base import CallAction, Fault
from chaoskit.model.triggers import AtCall

FAULT = Fault(
    name="short-write",
    summary="a write takes only `byte` bytes, and returns that number",
    target="program",
    triggers=(AtCall,),
    operations=("write",),
    on_call=lambda step: CallAction("short"),
)
