"""The static launcher for images without Python: two executables of a few KB that come with the package.

`launcher.c` says what they do; `python -m chaoskit.tap.native.build` makes them anew. Nothing is compiled on a user's
machine, and nothing here starts them.
"""

import errno
from pathlib import Path

# Engines and kernels have different names for the same machine.
_EXECUTABLES = {
    "x86_64": "launcher-x86_64",
    "amd64": "launcher-x86_64",
    "aarch64": "launcher-aarch64",
    "arm64": "launcher-aarch64",
}


def launcher(machine: str) -> bytes:
    """The executable for a machine, named as `uname -m` or as a container engine names it. Mode 0755 is the caller's.

    Raises OSError: ENOSYS for a machine that the tap does not know.
    """
    name = _EXECUTABLES.get(machine)
    if name is None:
        raise OSError(errno.ENOSYS, f"there is no launcher for {machine}, only for x86_64 and aarch64")
    return Path(__file__).with_name(name).read_bytes()
