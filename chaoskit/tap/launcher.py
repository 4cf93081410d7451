"""Starts a program under the tap: install the filter, hand the listener over, become the program.

This file stands alone (standard library only, no import from this package), so that it can be mounted into a container:

    python launcher.py --socket /run/chaoskit/worker-2.sock -- python worker_2.py

It does not know which system calls are watched. The supervisor's side of the socket (`chaoskit.tap.handover`) sends
the filter, and this side sends back the listener. Nothing here waits for the supervisor once the filter is installed.

The listener travels by `sendmsg`, a call that the filter itself watches. One combination of flags that no program
uses, `HANDOVER_FLAGS`, is let through, otherwise the process would wait for an answer from nobody.
"""

import array
import ctypes
import os
import platform
import shutil
import socket
import sys

HANDOVER_FLAGS = 0x800 | 0x4 | 0x80 | 0x8000 | 0x4000  # MSG_CONFIRM, DONTROUTE, EOR, MORE and NOSIGNAL together.
FILTER_MAX_BYTES = 4096 * 8  # The kernel's BPF_MAXINSNS.
UNAVAILABLE_EXIT = 125
NOT_EXECUTABLE_EXIT = 126
NOT_FOUND_EXIT = 127
_GREETED_WITHIN_S = 30.0

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_FLAG_NEW_LISTENER = 1 << 3
_FLAG_WAIT_KILLABLE_RECV = 1 << 5
_SECCOMP_NUMBERS = {"x86_64": 317, "aarch64": 277, "arm64": 277}
_libc = ctypes.CDLL(None, use_errno=True)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _seccomp(program: _FilterProgram, flags: int) -> int:
    number = _SECCOMP_NUMBERS[platform.machine()]
    result: int = _libc.syscall(number, _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program))
    return result


def install(program: bytes) -> int:
    """Install a compiled BPF program in this process for good, and return the listener's descriptor.

    Works in a forked child that goes on as a Python program as well as just before an exec. The descriptor is
    close-on-exec and must reach the supervisor (`hand_over`) before this process makes a watched call.
    Raises OSError: EBUSY when a filter with a listener is there already, EACCES or EPERM when seccomp is denied.
    """
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs is refused")
    code = _FilterProgram(len(program) // 8, program)
    # Kernels before 5.19 do not know the second flag; there a signal can interrupt a call that is being handled.
    for flags in (_FLAG_NEW_LISTENER | _FLAG_WAIT_KILLABLE_RECV, _FLAG_NEW_LISTENER):
        listener = _seccomp(code, flags)
        if listener >= 0:
            return listener
    error = ctypes.get_errno()
    raise OSError(error, f"seccomp refuses the filter: {os.strerror(error)}")


def hand_over(channel: socket.socket, listener_fd: int) -> None:
    """Send the listener over a Unix socket and close it here: a copy would keep a dead tap's calls waiting."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener_fd]))]
    channel.sendmsg([b"listener"], rights, HANDOVER_FLAGS)
    os.close(listener_fd)


def _connect(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Somebody listens but may be stuck; a start that takes longer is a failure to report, not something to wait for.
    channel.settimeout(_GREETED_WITHIN_S)
    channel.connect(path)
    return channel


def _filter_from(channel: socket.socket) -> bytes:
    program = channel.recv(FILTER_MAX_BYTES)
    if not program:
        raise OSError(0, "the supervisor hung up before it sent the filter")
    return program


def _arguments(arguments: list[str]) -> tuple[str, list[str]]:
    if len(arguments) < 4 or arguments[0] != "--socket" or arguments[2] != "--":
        raise SystemExit("launcher: expected --socket PATH -- COMMAND [ARGUMENT...]")
    return arguments[1], arguments[3:]


def main(arguments: list[str]) -> int:
    """Run the command under the tap that listens at the socket. Returns only when that failed: the exit code."""
    path, command = _arguments(arguments)
    program = shutil.which(command[0])
    if program is None:
        sys.stderr.write(f"launcher: {command[0]} is not found or not executable; check the command and PATH\n")
        return NOT_FOUND_EXIT
    try:
        channel = _connect(path)
        hand_over(channel, install(_filter_from(channel)))
        channel.close()
    except OSError as error:
        sys.stderr.write(f"launcher: cannot start {command[0]} under the tap at {path}: {error}\n")
        return UNAVAILABLE_EXIT
    try:
        os.execv(program, command)
    except OSError as error:
        sys.stderr.write(f"launcher: cannot execute {program}: {error}\n")
    return NOT_EXECUTABLE_EXIT


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
