"""The numbers of the watched system calls on x86_64 and aarch64, and the constants the Python library lacks.

Numbers are the kernel's (arch/x86/entry/syscalls/syscall_64.tbl, scripts/syscall.tbl). aarch64 has no plain `open`,
`rename`, `unlink` and the like: there the C library uses the `*at` forms.
"""

import platform
from dataclasses import dataclass

AT_FDCWD = -100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
FICLONE = 0x40049409
FICLONERANGE = 0x4020940D

_X86_64 = {
    "write": 1, "open": 2, "mmap": 9, "ioctl": 16, "pwrite64": 18, "writev": 20, "sendfile": 40, "sendto": 44,
    "sendmsg": 46, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83,
    "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "mknod": 133, "setrlimit": 160, "sync": 162,
    "io_submit": 209, "openat": 257, "mkdirat": 258, "mknodat": 259, "unlinkat": 263, "renameat": 264, "linkat": 265,
    "symlinkat": 266, "splice": 275, "fallocate": 285, "pwritev": 296, "prlimit64": 302, "syncfs": 306,
    "sendmmsg": 307, "renameat2": 316, "copy_file_range": 326, "pwritev2": 328, "io_uring_setup": 425, "openat2": 437,
}  # fmt: skip
_AARCH64 = {
    "io_submit": 2, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37,
    "renameat": 38, "truncate": 45, "ftruncate": 46, "fallocate": 47, "openat": 56, "write": 64, "writev": 66,
    "pwrite64": 68, "pwritev": 70, "sendfile": 71, "splice": 76, "sync": 81, "fsync": 82, "fdatasync": 83,
    "setrlimit": 164, "sendto": 206, "sendmsg": 211, "mmap": 222, "prlimit64": 261, "syncfs": 267, "sendmmsg": 269,
    "renameat2": 276, "copy_file_range": 285, "pwritev2": 287, "io_uring_setup": 425, "openat2": 437,
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """One machine: its AUDIT_ARCH word, its numbers, and from which number on calls belong to another ABI (x32)."""

    audit_word: int
    numbers: dict[str, int]
    foreign_from: int | None
    setfsuid: int
    setfsgid: int


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, _X86_64, 0x40000000, 122, 123),
    "aarch64": Architecture(0xC00000B7, _AARCH64, None, 151, 152),
}
ARCHITECTURES["arm64"] = ARCHITECTURES["aarch64"]


def architecture(machine: str | None = None) -> Architecture:
    """The tables of this machine. Raises OSError (ENOSYS) for one that the tap does not know."""
    name = machine or platform.machine()
    if name not in ARCHITECTURES:
        raise OSError(38, f"the tap has no system-call table for {name}")
    return ARCHITECTURES[name]
