"""Faults: one module a fault, and `TABLE`, the one list of them. docs/adding-a-fault.md says how to add one."""

from chaoskit.faults import cut, delay, duplicate, kill, pause, stop
from chaoskit.faults.base import CallAction, Fault, Hands, MessageAction, Option
from chaoskit.faults.check import check_plan

TABLE: dict[str, Fault] = {
    fault.name: fault for fault in (kill.FAULT, stop.FAULT, pause.FAULT, cut.FAULT, duplicate.FAULT, delay.FAULT)
}

__all__ = ["TABLE", "CallAction", "Fault", "Hands", "MessageAction", "Option", "check_plan"]
