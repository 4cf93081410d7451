"""Signals to all processes of a program: those that called, their descendants, and the rest of their session.

A process that left its session, lost its parent and never made a watched call is not found here; the Supervisor
kills it at its first watched call.
"""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_ROUNDS_MAX = 16


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split())
    return found


def _session_members(sessions: set[int]) -> list[int]:
    members: list[int] = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdecimal() and os.getsid(int(name)) in sessions:
                members.append(int(name))
    return members


def _sessions(pids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found.add(os.getsid(pid))
    # A program in our own session (started by hand) must not take us along.
    return found - {os.getsid(0), 0}


def family(pids: Iterable[int]) -> list[int]:
    """These processes first, then all that descend from them or share a session with them."""
    known = list(dict.fromkeys(pids))
    known += [pid for pid in _session_members(_sessions(known)) if pid not in known]
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
