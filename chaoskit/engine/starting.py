"""How a life of a program begins: a new process under the tap or not, or a copy of a prepared interpreter.

A starter takes a launch and gives the process id, and the tap's listener where it was asked for.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from chaoskit import tap
from chaoskit.runtime.base import Launch
from chaoskit.runtime.processes import MARK, owned, spawn_plain

Starter = Callable[[Launch, bool], tuple[int, int | None]]
_PR_SET_CHILD_SUBREAPER = 36
_ANSWER_BYTES = 4096


def start_new(launch: Launch, tapped: bool) -> tuple[int, int | None]:
    """A new process. On Linux it dies with chaoskit, also when that is killed."""
    if sys.platform != "linux":
        return spawn_plain(launch), None
    spawned = tap.spawn(
        launch.argv,
        env=launch.environment,
        cwd=launch.folder,
        stdout=launch.output,
        stderr=launch.output,
        tapped=tapped,
    )
    os.close(spawned.pidfd)
    return spawned.pid, spawned.listener_fd


def become_subreaper() -> None:
    """Adopt the orphans of this process's descendants, so that their end can be awaited here."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


class Prepared:
    """Starts Python scripts as copies of prepared interpreters, everything else as new processes.

    First lives and later lives have an interpreter each, so that a program whose state depends on Python's hash seed
    meets another one after a restart, as it would for real.
    """

    def __init__(self, mark: str) -> None:
        become_subreaper()
        self._mark = mark
        self._servers: dict[tuple[str, ...], tuple[socket.socket, subprocess.Popen[bytes]]] = {}

    def start(self, launch: Launch, tapped: bool) -> tuple[int, int | None]:
        script = _script_of(launch)
        if script is None:
            return start_new(launch, tapped)
        server = self._server(launch.argv[0], script, "first" if launch.life == 0 else "later")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            request = {
                "argv": list(launch.argv[1:]),
                "env": dict(launch.environment),
                "cwd": str(launch.folder),
            }
            fds = [launch.output, theirs.fileno()] if tapped else [launch.output]
            socket.send_fds(server, [json.dumps(request).encode()], fds)
            answer = server.recv(_ANSWER_BYTES)
            if not answer:
                raise OSError(0, f"the prepared interpreter of {script.name} ended")
            theirs.close()
            return int(json.loads(answer)["pid"]), tap.receive(ours)[1] if tapped else None

    def _server(self, python: str, script: Path, lives: str) -> socket.socket:
        key = (python, str(script), lives)
        if key not in self._servers:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [python, "-m", "chaoskit.tap.forkserver", str(theirs.fileno()), str(script)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                    env={
                        **os.environ,
                        MARK: self._mark,
                        **owned(),
                        "PYTHONUNBUFFERED": "1",
                        "PYTHONDONTWRITEBYTECODE": "1",
                    },
                )
            self._servers[key] = ours, process
        return self._servers[key][0]

    def close(self) -> None:
        """End the prepared interpreters."""
        for channel, process in self._servers.values():
            channel.close()
            process.kill()
            process.wait()
        self._servers.clear()


def _script_of(launch: Launch) -> Path | None:
    """The script of `python script.py ...`; None for any other command."""
    if sys.platform != "linux" or len(launch.argv) < 2 or launch.argv[0] != sys.executable:
        return None
    script = Path(os.path.normpath(launch.folder / launch.argv[1]))
    return script if script.suffix == ".py" and script.is_file() else None
