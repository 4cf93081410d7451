"""Faults: one module a fault, and `TABLE`, the one list of them. docs/adding-a-fault.md says how to add one."""

from chaoskit.faults import (
    broker_kill,
    broker_restart,
    cut,
    delay,
    disconnect,
    duplicate,
    eintr,
    eio,
    enospc,
    kill,
    pause,
    power_loss,
    short_write,
    stop,
)
from chaoskit.faults.base import BROKER, CallAction, Fault, Hands, MessageAction, Option
from chaoskit.faults.check import check_plan

_MODULES = (
    kill,
    power_loss,
    enospc,
    eio,
    eintr,
    short_write,
    stop,
    pause,
    cut,
    disconnect,
    duplicate,
    delay,
    broker_restart,
    broker_kill,
)
TABLE: dict[str, Fault] = {module.FAULT.name: module.FAULT for module in _MODULES}

__all__ = ["BROKER", "TABLE", "CallAction", "Fault", "Hands", "MessageAction", "Option", "check_plan"]
