"""One process of a program: its output read line by line, its end awaited, its whole family signalled.

Everything happens in the running asyncio loop. Where the kernel has pidfds the end of a process is an event on one;
elsewhere (macOS) a thread waits for it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chaoskit.runtime.base import Launch

MARK = "CHAOSKIT_RUN"
# Beside the mark: which process started it, so that the programs of a dead one can be told from those of a live one.
OWNER = "CHAOSKIT_OWNER"
LINE_LIMIT = 4096
_READ_BYTES = 65536
# A dead program's pipe may be held open by a child that escaped; its lines are not waited for longer than this.
_DRAIN_S = 0.5
# Stopped, traced, a zombie, dead or gone: none of these runs any further.
_AT_REST = ("T", "t", "Z", "X", "")
_STOPPING_S = 0.5
_LOOK_AGAIN_S = 0.0002
_EXEC_LOOKS = 50
_DRAIN_READS = 32
# A program that floods must not fill the disk.
_LOG_LIMIT_BYTES = 64 * 1024 * 1024
_LOG_CUT = b"\n(chaoskit: the log is cut here, the program floods)\n"


def spawn_plain(launch: Launch) -> int:
    """Start a launch with nothing between it and the kernel, in a session of its own."""
    process = subprocess.Popen(
        list(launch.argv),
        env=dict(launch.environment),
        cwd=launch.folder,
        stdin=subprocess.DEVNULL,
        stdout=launch.output,
        stderr=launch.output,
        start_new_session=True,
    )
    # The exit is awaited by `Process`; without this, Popen would complain that nobody did.
    process.returncode = 0
    return process.pid


def _state_of(pid: int) -> str:
    """The state of a process as Linux names it; empty when it is gone, or not to be known on this system."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


class Lines:
    """Cuts a stream of bytes into lines; a line longer than the limit is cut, not kept in memory."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[str]:
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            if not self._skipping:
                yield _text(line)
            self._skipping = False
        if len(rest) > LINE_LIMIT and not self._skipping:
            yield _text(rest)
            self._skipping = True
        self._rest = b"" if self._skipping else rest

    def end(self) -> Iterator[str]:
        """The last line, if it had no newline."""
        if self._rest:
            yield _text(self._rest)
        self._rest = b""


def _text(line: bytes) -> str:
    return line[:LINE_LIMIT].rstrip(b"\r").decode("utf-8", "replace")


class Process:
    """A running life of a program. `on_line` hears its lines, `on_exit` its code (negative: minus the signal)."""

    def __init__(
        self, pid: int, output: int, log: int, on_line: Callable[[str], None], on_exit: Callable[[int], None]
    ) -> None:
        self.pid = pid
        self.code: int | None = None
        self._loop = asyncio.get_running_loop()
        self._output, self._log = output, log
        self._lines = Lines()
        self._on_line, self._on_exit = on_line, on_exit
        self._open = True
        self._logged_bytes = os.fstat(log).st_size
        self.ended = asyncio.Event()
        os.set_blocking(output, False)
        self._loop.add_reader(output, self._read)
        self._watch()

    def signal(self, number: int) -> None:
        """Signal the session that the program leads; nothing happens when it has ended."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def stop(self) -> bool:
        """Stop the program and wait a moment until it is; False when it was stopped already, or has ended."""
        if self.code is not None or _state_of(self.pid) in _AT_REST:
            return False
        self.signal(signal.SIGSTOP)
        deadline_s = time.monotonic() + _STOPPING_S
        # A call that the program is in ends first, which takes it no longer than a turn on a busy machine.
        while _state_of(self.pid) not in _AT_REST and time.monotonic() < deadline_s:
            time.sleep(_LOOK_AGAIN_S)
        return True

    def _watch(self) -> None:
        if sys.platform == "linux":
            pidfd = os.pidfd_open(self.pid)
            self._loop.add_reader(pidfd, self._reap, pidfd)
        else:
            threading.Thread(target=self._wait_in_thread, daemon=True).start()

    def _wait_in_thread(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self._loop.call_soon_threadsafe(self._died, os.waitstatus_to_exitcode(status))

    def _reap(self, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        try:
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            code = -signal.SIGKILL
        self._died(code)

    def _died(self, code: int) -> None:
        # What the program forked dies with it: a crash takes the whole program, and nothing outlives a run.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.code = code
        # Only what was in the pipe: a child that escaped may go on writing for ever.
        for _ in range(_DRAIN_READS):
            if not (self._open and self._read()):
                break
        if self._open:
            self._loop.call_later(_DRAIN_S, self._finish)
        else:
            self._finish()

    def _read(self) -> bool:
        """Read what is there; whether there may be more."""
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._save(data)
            for line in self._lines.feed(data):
                self._on_line(line)
            return True
        self._close_output()
        return False

    def _save(self, data: bytes) -> None:
        if self._logged_bytes > _LOG_LIMIT_BYTES:
            return
        self._logged_bytes += len(data)
        os.write(self._log, data if self._logged_bytes <= _LOG_LIMIT_BYTES else _LOG_CUT)

    def _close_output(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._output)
            os.close(self._output)
            for line in self._lines.end():
                self._on_line(line)
            if self.code is not None:
                self._finish()

    def _finish(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self._close_output()
        os.close(self._log)
        assert self.code is not None
        self._on_exit(self.code)


def marked(run: str) -> list[int]:
    """Process ids of this machine whose environment carries the mark of `run`, or of a run below it ('' for any)."""
    pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if pid != os.getpid() and _carries(pid, run)]


def identity(pid: int) -> str | None:
    """A process for as long as the machine is up, `pid:start time in ticks`; None when there is none (or no /proc)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return f"{pid}:{fields[19]}" if fields[0] not in "ZX" else None


def owned() -> dict[str, str]:
    """The variable that names this process as the owner of a program that it starts."""
    return {OWNER: identity(os.getpid()) or str(os.getpid())}


def variables_of(pid: int) -> list[bytes]:
    """The environment that a process was started with; empty when it cannot be read."""
    for _ in range(_EXEC_LOOKS):
        try:
            found = Path(f"/proc/{pid}/environ").read_bytes()
            if found or not os.readlink(f"/proc/{pid}/exe"):
                return found.split(b"\0")
        except OSError:
            # Gone, somebody else's, a zombie, or a thread of the kernel, which has no executable.
            return []
        # Empty for the moment in which it becomes another program: one that is not seen now would outlive its run.
        time.sleep(_LOOK_AGAIN_S)
    return []


def _carries(pid: int, run: str) -> bool:
    marks = [v.decode(errors="replace") for v in variables_of(pid) if v.startswith(f"{MARK}=".encode())]
    return any(f"{mark}/".startswith(f"{MARK}={run}/" if run else f"{MARK}=") for mark in marks)
