"""Runs the command line of chaoskit as a child process, and stops it in order when the test is interrupted.

A process of its own, because a run takes over signals, starts processes and has an event loop, and a test's process
may have threads and a loop already.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# What a run needs at most to stop its programs, kill those that do not stop, and close its journal.
_STOPPING_S = 30.0
# Its output is read by us: nothing in it is for a CI server or a terminal.
_NOT_INHERITED = ("GITHUB_ACTIONS", "FORCE_COLOR", "CLICOLOR_FORCE")


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code, the report (JSON) or nothing, and what it said on the way."""

    code: int
    out: bytes
    said: str


def run(arguments: Sequence[str], directory: Path) -> Finished:
    """`chaoskit ARGUMENTS` in `directory`. On an interrupt the child is stopped before that goes on its way."""
    command = [sys.executable, "-P", "-m", "chaoskit.cli.tethered", str(os.getpid()), *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            _stop(process)
            raise
    return Finished(process.returncode, out, err.decode(errors="replace"))


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end as Ctrl-C does; a second interrupt, or no end in time, kills it (and with it its programs)."""
    try:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_STOPPING_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
