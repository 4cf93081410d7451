"""The looks at what the tap needs: a kernel, a kind of processor, seccomp, and the right to look into a child."""

import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

from chaoskit.engine import wiring
from chaoskit.engine.doctor.finding import Finding

_OLDEST = (5, 14)
_MACHINES = ("x86_64", "aarch64")
_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
# From this value on a process may not look into its own child without the capability; 3 cannot be undone.
_YAMA_ADMIN_ONLY = 2
_INSTEAD = "kills fall on messages and log lines instead"
_VM = "limactl start"
_IN_CONTAINER = ("/.dockerenv", "/run/.containerenv")


def _kernel() -> Finding:
    found = f"{platform.system()} {platform.release()}"
    version = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if sys.platform != "linux":
        return Finding("kernel", "missing", f"{found}: the tap needs Linux; {_INSTEAD}", False, _VM)
    if version < _OLDEST:
        detail = f"{found}: the tap needs Linux 5.14 or newer; {_INSTEAD}"
        return Finding("kernel", "missing", detail, False, "sudo apt-get full-upgrade && sudo reboot")
    return Finding("kernel", "ok", found, False)


def _architecture() -> Finding:
    machine = platform.machine()
    if machine not in _MACHINES and sys.platform == "linux":
        detail = f"{machine}: the tap knows the system calls of {' and '.join(_MACHINES)}; {_INSTEAD}"
        return Finding("architecture", "missing", detail, False, "docker run --platform linux/amd64 ...")
    return Finding("architecture", "ok", machine, False)


def _seccomp() -> Finding:
    if sys.platform != "linux":
        return Finding("seccomp", "missing", f"there is none on {sys.platform}; {_INSTEAD}", False, _VM)
    try:
        actions = _ACTIONS.read_text().split()
    except OSError as e:
        detail = f"{_ACTIONS}: {e.strerror}: was the kernel built without it? {_INSTEAD}"
        return Finding("seccomp", "missing", detail, False, "zgrep CONFIG_SECCOMP /proc/config.gz")
    if "user_notif" not in actions:
        detail = f"the kernel has no user notification; {_INSTEAD}"
        return Finding("seccomp", "missing", detail, False, "sudo apt-get full-upgrade && sudo reboot")
    return Finding("seccomp", "ok", "user notification", False)


def _tap() -> Finding:
    reason = wiring.tap_unavailable()
    if reason is None:
        return Finding("tap", "ok", "system calls can be intercepted: tried with a child process", False)
    return Finding("tap", "missing", f"{reason}; {_INSTEAD}", False, _mend())


def _mend() -> str:
    if sys.platform != "linux":
        return _VM
    if any(os.path.exists(path) for path in _IN_CONTAINER):
        return "docker run --cap-add SYS_PTRACE ..."
    if _yama() >= _YAMA_ADMIN_ONLY:
        return "sudo sysctl kernel.yama.ptrace_scope=1"
    return "sudo setcap cap_sys_ptrace+ep $(readlink -f $(command -v python3))"


def _yama() -> int:
    try:
        return int(_YAMA.read_text())
    except (OSError, ValueError):
        return 0


LOOKS: tuple[Callable[[], Finding], ...] = (_kernel, _architecture, _seccomp, _tap)
