"""How a run marks what it makes on an engine: whose it is, and by what one knows that nobody needs it any more.

Containers, networks and volumes carry `chaoskit.run` and `chaoskit.owner`. Images carry names of their own: a container
inherits the labels of its image, and one that somebody else starts from an image of ours is not ours.
"""

import os
import platform
import sys
from collections.abc import Mapping

from chaoskit.runtime.processes import identity

RUN = "chaoskit.run"
OWNER = "chaoskit.owner"
IMAGE_RUN = "chaoskit.image.run"
IMAGE_OWNER = "chaoskit.image.owner"
# The inode of the process id namespace that every Linux starts with; another one counts processes for itself.
_FIRST_NAMESPACE = "pid:[4026531836]"


def owner(pid: int | None = None) -> str:
    """This process (or `pid`) as the owner of what a run makes: `host:pid:start time in ticks`."""
    pid = os.getpid() if pid is None else pid
    return f"{_host()}:{identity(pid) or pid}"


def of_run(run: str, owner: str) -> dict[str, str]:
    """The labels of a container, a network or a volume of a run."""
    return {RUN: run, OWNER: owner}


def of_image(run: str, owner: str) -> dict[str, str]:
    """The labels of an image that is built for a run."""
    return {IMAGE_RUN: run, IMAGE_OWNER: owner}


def run_of(labels: Mapping[str, str]) -> str | None:
    """The run that a container, network or volume with these labels belongs to; None when it is not ours."""
    return labels.get(RUN)


def is_gone(owner: str) -> bool:
    """Whether the process that `owner` names is no more. One of another host, or none that we know, may still live."""
    host, _, process = owner.partition(":")
    pid, _, started = process.partition(":")
    if host != _host() or not pid.isdecimal():
        return False
    if started:
        return identity(int(pid)) != process
    return sys.platform != "linux" and not _answers(int(pid))


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    """This host, and the process id namespace in it where there is more than one."""
    name = platform.node().replace(":", "_") or "unknown"
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return name
    return name if namespace == _FIRST_NAMESPACE else f"{name}+{namespace.strip('pid:[]')}"
