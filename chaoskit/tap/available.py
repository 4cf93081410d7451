"""Whether the tap works on this machine: tried with a real child process, once."""

import functools
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoskit.tap.kernel import Listener


# SECCOMP_ADDFD_FLAG_SEND hands over a file that the supervisor made and answers the call in one step: since 5.14.
_OLDEST = (5, 14)


@functools.cache
def unavailable() -> str | None:
    """None when a child can be tapped, else one line that says why not. Forks once; later calls cost nothing."""
    if not sys.platform.startswith("linux"):
        return f"the tap needs Linux, this is {sys.platform}"
    if _version() < _OLDEST:
        return f"the tap needs Linux {_OLDEST[0]}.{_OLDEST[1]} or newer, this is {os.uname().release}"
    try:
        return _try_child()
    except OSError as error:
        return f"the tap does not work here: {error.strerror or error}"


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def _try_child() -> str | None:
    # These modules open the C library; on other systems they must not even be imported.
    from chaoskit.tap.kernel import READY, Listener
    from chaoskit.tap.start import fork_call

    child = fork_call(_one_write)
    listener = Listener(child.listener_fd or -1)
    try:
        if listener.wait(1.0) != READY or not listener.receive():
            return "the tap does not work here: the kernel delivers no notification"
        return _look_inside(listener, child.pidfd)
    finally:
        listener.close()
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        os.close(child.pidfd)


def _one_write() -> None:
    os.write(1, b"tap")


def _look_inside(listener: "Listener", pidfd: int) -> str | None:
    from chaoskit.tap.kernel import Memory, take_fd

    steps: list[tuple[str, Callable[[], object]]] = [
        ("read its descriptors", lambda: os.readlink(f"/proc/{listener.tid}/fd/1")),
        ("read its memory", lambda: Memory().read(listener.tid, listener.args[1], 3)),
        ("take a descriptor of it", lambda: os.close(take_fd(pidfd, 1))),
    ]
    for what, step in steps:
        try:
            step()
        except OSError as error:
            return f"the tap does not work here: a child starts, but we may not {what} ({error.strerror})"
    return None
