"""What a supervisor may do to processes of other containers, checked before it relies on it, told in one line.

A supervisor in a container of its own needs the host's PID namespace (`pid: host`), so that process numbers mean the
same on both sides, and these capabilities. Only SYS_PTRACE is not among those that Docker gives by default; with it
Docker's seccomp profile lets process_vm_readv and pidfd_getfd through, and needs no change. The others are needed to
make and open files as the program would: as its user, or as root with what its root may; without one of them the tap
is refused, for files would get another owner, or the program an error of ours.

User namespaces: the supervisor must live in the program's, or in one above it. On a rootless engine all containers
share one, and nothing more is needed. With `userns-remap` the engine refuses `pid: host` unless the container is in the
host's (`userns_mode: host`), and from there all is seen. Both were tried, with an engine 26.1.

AppArmor, read in the engine's source and not tried: containers under `docker-default` may trace and signal each other,
so a supervisor and a program under it get along; a program under a profile of its own may be traced by an unconfined
process (`security_opt: [apparmor=unconfined]`, for the supervisor only), and must let such a one signal it. SELinux
was not tried.
"""

import contextlib
import ctypes
import functools
import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager

_CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_PTRACE": 19,
}  # fmt: skip


# Those that decide about files (linux/capability.h, CAP_FS_MASK): CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID,
# LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE. The kernel itself drops them with a file-system user who is not root.
_OF_FILES = sum(1 << bit for bit in (0, 1, 2, 3, 4, 9, 27, 32))
_VERSION_3 = 0x20080522
_HALF = 0xFFFFFFFF
_DATA = struct.Struct("<6I")  # Two struct __user_cap_data_struct: effective, permitted, inheritable; low halves first.
_capset = ctypes.CDLL(None, use_errno=True).capset


def status_fields(tid: int | str) -> dict[str, str]:
    """The lines of /proc/TID/status. Raises OSError when the thread is gone."""
    with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as lines:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def lacking() -> str:
    """Which of the capabilities that it takes this process does not have, in words; empty when it has them all."""
    effective = int(status_fields("self")["CapEff"], 16)
    return ", ".join(name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1)


@functools.cache
def _own_sets() -> tuple[int, int, int]:
    found = status_fields("self")
    return int(found["CapEff"], 16), int(found["CapPrm"], 16), int(found["CapInh"], 16)


def _set_effective(effective: int) -> None:
    sets = (effective, *_own_sets()[1:])
    header = struct.pack("<Ii", _VERSION_3, 0)
    data = _DATA.pack(*(value & _HALF for value in sets), *(value >> 32 for value in sets))
    if _capset(header, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


@contextlib.contextmanager
def _effective(wanted: int, own: int) -> Iterator[None]:
    _set_effective(wanted)
    try:
        yield
    finally:
        _set_effective(own)


def with_file_rights_of(fs_uid: int, effective: int) -> AbstractContextManager[None]:
    """To be made before this thread acts as `fs_uid`, and entered then: its rights over files are those of a thread
    with these capabilities.

    A root whose capabilities were dropped (`cap_drop`) is refused what the kernel would refuse it, and the root of a
    user namespace may do there what a root may.
    """
    own = _own_sets()[0]
    now = own if fs_uid == 0 else own & ~_OF_FILES
    wanted = own & (effective | ~_OF_FILES)
    return contextlib.nullcontext() if wanted == now else _effective(wanted, own)
