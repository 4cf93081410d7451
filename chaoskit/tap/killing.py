"""Signals to all processes of a program: those that called, their descendants, the rest of their groups and sessions.

A process that left both, lost its parent and never made a watched call is not found here; the Supervisor kills it at
its first watched call.
"""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_ROUNDS_MAX = 16
_NOBODY = {("group", 0), ("session", 0)}  # Of another PID namespace.


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split())
    return found


def _belongings(pid: int) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    with contextlib.suppress(OSError):
        found = {("group", os.getpgid(pid)), ("session", os.getsid(pid))}
    return found


def _companions(pids: Iterable[int]) -> list[int]:
    # What we belong to ourselves must not take us along.
    wanted = {belonging for pid in pids for belonging in _belongings(pid)} - _belongings(0) - _NOBODY
    others = [int(name) for name in os.listdir("/proc") if name.isdecimal()] if wanted else []
    return [pid for pid in others if _belongings(pid) & wanted]


def family(pids: Iterable[int]) -> list[int]:
    """These processes first, then all that descend from them or share a process group or session with them."""
    known = list(dict.fromkeys(pids))
    known += [pid for pid in _companions(known) if pid not in known]
    for pid in known:  # Grows while it is walked.
        known += [child for child in _children(pid) if child not in known]
    return known


def signal_all(pids: Iterable[int], number: int) -> list[int]:
    """Send one signal to the family of these processes, in order. Returns the processes that were signalled."""
    done: list[int] = []
    for pid in family(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            done.append(pid)
    return done


def kill_program(pids: Iterable[int]) -> None:
    """SIGKILL the family of these processes, until no new member turns up."""
    first = list(pids)
    killed: set[int] = set()
    for _ in range(_ROUNDS_MAX):
        round_ = set(signal_all(first, signal.SIGKILL))
        if round_ <= killed:
            return
        killed |= round_
