"""Starts a program on this machine, under the tap or not.

`subprocess` would wait for the exec in the very thread that has to answer the tap. Here the child makes no watched call
between the filter and the exec (the listener travels by a call that the filter lets through), so that waiting for the
exec cannot hang, and a failed exec is an OSError of `spawn`.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.tap.filter import compile_filter
from chaoskit.tap.handover import receive
from chaoskit.tap.launcher import HANDOVER_FLAGS, hand_over, install

_PR_SET_PDEATHSIG = 1
_HIGH_FD = 10  # Above the three that the program gets.
_FAILED = b"errno "
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Spawned:
    """A started program. Its descriptors are the caller's; `listener_fd` is for a Supervisor, None if not tapped."""

    pid: int
    pidfd: int
    listener_fd: int | None


@dataclass(frozen=True, slots=True)
class _Start:
    become: Callable[[], None]
    cwd: Path
    stdio: tuple[int, int, int]
    tapped: bool
    executes: bool


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    tapped: bool = True,
) -> Spawned:
    """Start `argv` in a process group of its own, with these descriptors as 0, 1 and 2 (None: /dev/null) and no others.

    The program is looked up in the PATH of `env` and dies with the calling thread. Raises OSError: FileNotFoundError,
    PermissionError, or what chdir, seccomp or exec said.
    """
    program = _find(argv[0], env, cwd)
    arguments, environment = list(argv), dict(env)
    with open(os.devnull, "r+b", buffering=0) as null:
        fds = [null.fileno() if fd is None else fd for fd in (stdin, stdout, stderr)]
        stdio = (fds[0], fds[1], fds[2])
        return _fork(_Start(lambda: os.execve(program, arguments, environment), cwd, stdio, tapped, True))


def fork_call(function: Callable[[], None]) -> Spawned:
    """Run a function in a tapped child that exits when it returns; no program is executed, output goes nowhere."""
    with open(os.devnull, "r+b", buffering=0) as null:
        return _fork(_Start(function, Path("/"), (null.fileno(),) * 3, True, False))


def _find(name: str, env: Mapping[str, str], cwd: Path) -> str:
    if "/" in name:
        path = str(cwd / name)
        if not os.path.exists(path):
            raise FileNotFoundError(2, os.strerror(2), path)
        return path
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None:
        raise FileNotFoundError(2, "not found in the PATH of its environment", name)
    return os.path.abspath(found)


def _fork(start: _Start) -> Spawned:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    with ours, theirs:
        # Python's handlers must not run in the child.
        old_mask = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _child(start, theirs, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        theirs.close()
        return _await_exec(pid, ours)


def _await_exec(pid: int, channel: socket.socket) -> Spawned:
    listener_fd: int | None = None
    failure = b""
    while True:
        message, fd = receive(channel)
        if not message:
            break
        listener_fd = fd if fd is not None else listener_fd
        failure = message if message.startswith(_FAILED) else failure
    if not failure:
        return Spawned(pid, os.pidfd_open(pid), listener_fd)
    if listener_fd is not None:
        os.close(listener_fd)
    os.waitpid(pid, 0)
    number, _, text = failure.removeprefix(_FAILED).decode().partition(" ")
    raise OSError(int(number), text)


def _child(start: _Start, channel: socket.socket, parent: int) -> None:
    """Become the program; never returns."""
    try:
        _leave(parent)
        channel_fd = _place_descriptors(start.stdio, channel.detach())
        channel = socket.socket(fileno=channel_fd)
        os.chdir(start.cwd)
        if start.tapped:
            hand_over(channel, install(compile_filter()))
        if not start.executes:
            channel.close()
        start.become()
    except OSError as error:
        text = f"{error.errno or 0} {error.strerror}: {error.filename or start.cwd}"
        channel.sendmsg([_FAILED + text.encode()], [], HANDOVER_FLAGS)
    finally:
        os._exit(127)


def _leave(parent: int) -> None:
    # Not a session of its own: where the kernel groups its scheduling by session (autogroup), every switch between the
    # program and its tap would wait for its turn among all sessions; on a busy machine that costs five times as much.
    os.setpgid(0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _place_descriptors(stdio: tuple[int, int, int], channel_fd: int) -> int:
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD) for fd in (*stdio, channel_fd)]
    for number, fd in enumerate(high[:3]):
        os.dup2(fd, number)
    os.closerange(3, high[3])
    os.closerange(high[3] + 1, os.sysconf("SC_OPEN_MAX"))
    return high[3]
