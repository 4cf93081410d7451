"""The tap: watches, and hurts, a program's file-changing system calls and its sends to the broker.

Linux seccomp user notification: each watched call of the program waits until a Supervisor has performed and answered
it, so the results and their order are known, and a kill can fall before, inside (k bytes really written) or after it.
Standard library only. Importable anywhere; it works on Linux on x86_64 and aarch64 (`unavailable` says why not).

    child = spawn(["python", "worker_2.py"], env=environment, cwd=folder, stdout=log_fd, stderr=log_fd)
    supervisor = Supervisor(child.listener_fd, root=data, program="worker-2", rules=rules, on_event=events.append)
    loop.add_reader(supervisor.fileno(), supervisor.step)      # until an Ended event

or, for life after life with power loss and faults that last, `Station(on_report, loop.add_reader, loop.remove_reader)`.

What the tap does not see: stores through a shared writable mapping (told as Unseen); a mapping that is made writable
later (mprotect); io_uring and Linux AIO (refused with ENOSYS, told as Unseen); changes of mode, owner, times and
extended attributes; writes to files that have no name any more; writes by a process outside the filter, to which a
descriptor was sent; openat2 with RESOLVE flags (told as Unseen). A write under a finite RLIMIT_FSIZE and a send to the
broker are performed by the kernel: counted when let go, their result is not known. An fsync is answered at once,
without the disk.
"""

import importlib
from typing import TYPE_CHECKING, Any

from chaoskit.tap.available import unavailable
from chaoskit.tap.events import Call, Ended, Event, Fired, Lost, Unseen
from chaoskit.tap.messages import Order, Report
from chaoskit.tap.rules import Rule

if TYPE_CHECKING:
    from chaoskit.tap.filter import compile_filter
    from chaoskit.tap.handover import Door, receive
    from chaoskit.tap.launcher import hand_over, install
    from chaoskit.tap.powerloss import CrashState
    from chaoskit.tap.shadow import Shadow
    from chaoskit.tap.start import Spawned, spawn
    from chaoskit.tap.station import Station
    from chaoskit.tap.supervisor import Supervisor

__all__ = [
    "Call", "CrashState", "Door", "Ended", "Event", "Fired", "Lost", "Order", "Report", "Rule", "Shadow", "Spawned",
    "Station", "Supervisor", "Unseen", "compile_filter", "hand_over", "install", "receive", "spawn", "unavailable",
]  # fmt: skip

_LINUX_ONLY = {
    "CrashState": "powerloss", "Door": "handover", "Shadow": "shadow", "Spawned": "start", "Station": "station",
    "Supervisor": "supervisor", "compile_filter": "filter", "hand_over": "launcher", "install": "launcher",
    "receive": "handover", "spawn": "start",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # These modules bind Linux interfaces when they are imported; elsewhere the package must still be importable.
    if name not in _LINUX_ONLY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_LINUX_ONLY[name]}"), name)
