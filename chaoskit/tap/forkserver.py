"""A prepared interpreter: imports what a Python program imports, then forks a copy for each start of the program.

    python -m chaoskit.tap.forkserver FD SCRIPT

serves requests on the Unix socket FD, one JSON object each with the output's descriptor and, for a tapped start, the
channel that brings the listener back. A start then costs a fork instead of an interpreter and its imports.

Modules from outside the script's folder are imported before, those inside it and the script itself in each copy, so
that no code of the program runs twice in one process. What a copy shares with the others: the hash seed, and whatever
those imports did. Programs in other languages, and `python -m` or `-c`, are not for this.
"""

import ast
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import signal
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaoskit.tap.filter import compile_filter
from chaoskit.tap.launcher import hand_over, install

_PR_SET_PDEATHSIG = 1
_MESSAGE_BYTES = 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def imported_names(script: Path) -> Iterator[str]:
    """The modules that `script` imports at its top level, and those that the modules beside it import in turn."""
    seen: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in _top_level_imports(path):
            beside = script.parent / f"{name.split('.')[0]}.py"
            if beside.is_file():
                waiting.append(beside)
            else:
                yield name


def _top_level_imports(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _prepare(script: Path) -> types.CodeType | None:
    """Import what can be imported and compile the script; None when it does not compile (each start says so then)."""
    try:
        for name in imported_names(script):
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001 (the program itself will meet it, and say so)
                continue
        return compile(script.read_bytes(), str(script), "exec")
    except (OSError, SyntaxError, ValueError):
        return None


class _Copy:
    """What a forked copy needs to become the program."""

    def __init__(self, request: dict[str, Any], fds: list[int], script: Path, code: types.CodeType | None) -> None:
        self.request, self.script, self.code = request, script, code
        self.output = fds[0]
        self.channel = socket.socket(fileno=fds[1]) if len(fds) > 1 else None

    def become(self) -> types.ModuleType:
        """Leave the server behind: a session, descriptors, environment and main module of its own."""
        # A group of its own, in the session of the supervisor: the kernel shares out time by session, and a program and
        # the tap that answers it take turns.
        os.setpgid(0, 0)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (self.output, 1), (self.output, 2)):
            os.dup2(source, target)
        os.close(null)
        os.close(self.output)
        os.chdir(self.request["cwd"])
        os.environ.clear()
        os.environ.update(self.request["env"])
        sys.argv = list(self.request["argv"])
        sys.path[0] = str(self.script.resolve().parent)
        if self.channel is not None:
            hand_over(self.channel, install(compile_filter()))
            self.channel.close()
        main = types.ModuleType("__main__")
        main.__file__ = str(self.script)
        main.__dict__["__builtins__"] = __builtins__
        sys.modules["__main__"] = main
        return main


def serve(server: socket.socket, script: Path) -> _Copy | None:
    """Answer requests until the other side is gone (None); in a forked copy, return what it has to become."""
    code = _prepare(script)
    parent = os.getppid()
    gc.freeze()
    while True:
        message, fds, _, _ = socket.recv_fds(server, _MESSAGE_BYTES, 2)
        if not message:
            return None
        copy = _Copy(json.loads(message), fds, script, code)
        pid = _fork_to_grandparent(parent)
        if pid == 0:
            server.close()
            return copy
        os.close(copy.output)
        if copy.channel is not None:
            copy.channel.close()
        server.send(json.dumps({"pid": pid}).encode())


def _fork_to_grandparent(new_parent: int) -> int:
    """Fork a child that is adopted by `new_parent`, a subreaper, who can then await it. 0 in the child."""
    answer, answering = os.pipe()
    middle = os.fork()
    if middle == 0:
        middle = os.getpid()
        pid = os.fork()
        if pid:
            os.write(answering, str(pid).encode())
            os._exit(0)
        os.close(answer)
        os.close(answering)
        # The middle process is about to end; nothing tells of an adoption, and it takes a few microseconds.
        while os.getppid() == middle:
            os.sched_yield()
        _die_with(new_parent)
        return 0
    os.close(answering)
    os.waitpid(middle, 0)
    pid = int(os.read(answer, 64))
    os.close(answer)
    return pid


def _die_with(parent: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)


if __name__ == "__main__":
    _die_with(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _script = Path(os.path.abspath(sys.argv[2]))
    sys.path[0] = str(_script.parent)
    _copy = serve(socket.socket(fileno=int(sys.argv[1])), _script)
    if _copy is not None:
        _main = _copy.become()
        exec(_copy.code or compile(_script.read_bytes(), str(_script), "exec"), _main.__dict__)
