"""A pipeline by hand in the background: a forked process of its own, heard until it is ready.

The fork happens before any loop or thread exists. It does not know what a pipeline is: `work` does.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from chaoskit.model.errors import ChaoskitError, EnvironmentProblem
from chaoskit.model.exit_codes import ExitCode

_END_S = 15.0
_PAUSE_S = 0.02


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The background process has come to the point that was waited for. `log` takes its output from now on."""

    log: str


class Note(msgspec.Struct, frozen=True, tag="note"):
    """Something to tell the user on the way there."""

    text: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It could not; `code` is the exit code that says why."""

    text: str
    code: int


Word = Ready | Note | Failed
_words: msgspec.json.Decoder[Word] = msgspec.json.Decoder(Word)


class BackgroundFailed(ChaoskitError):
    """The background process ended before it was ready."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.text)
        self.exit_code = ExitCode(failed.code) if failed.code in list(ExitCode) else ExitCode.ENVIRONMENT


class Foreground:
    """How the background process talks to the one that started it, until it is ready."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def say(self, word: Word) -> None:
        """Say one thing. Whoever started us may be gone: then nobody hears it, and that is no reason to end."""
        try:
            os.write(self._fd, msgspec.json.encode(word) + b"\n")
        except OSError:
            return

    def leave(self, log: Path) -> None:
        """Say that all is ready and let go of the terminal: later output goes to `log`."""
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        _flush()
        for fd in (1, 2):
            os.dup2(output, fd)
        os.close(output)
        self.say(Ready(str(log)))
        os.close(self._fd)


def start(work: Callable[[Foreground], int], note: Callable[[str], None]) -> int:
    """Do `work` in a background process and return its process id when it is ready.

    Raises BackgroundFailed, with its line and exit code, when it ends before. An interrupt ends it too.
    """
    reading, writing = os.pipe()
    _flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_the_background(work, Foreground(writing))
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as words:
            _hear(words.readline, note)
    except (KeyboardInterrupt, ChaoskitError):
        _end(pid)
        raise
    return pid


def _hear(next_line: Callable[[], bytes], note: Callable[[str], None]) -> None:
    while line := next_line():
        word = _words.decode(line)
        if isinstance(word, Ready):
            return
        if isinstance(word, Failed):
            raise BackgroundFailed(word)
        note(word.text)
    raise EnvironmentProblem("the background process died before the pipeline was ready")


def _end(pid: int) -> None:
    """Wait for the end of the background process; SIGKILL when SIGTERM is not enough."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_S
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_S)


def _be_the_background(work: Callable[[Foreground], int], foreground: Foreground) -> None:
    """The child: never returns, whatever happens in `work`."""
    code = int(ExitCode.ENVIRONMENT)
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        code = work(foreground)
    except ChaoskitError as e:
        foreground.say(Failed(str(e), int(e.exit_code)))
        code = int(e.exit_code)
    except KeyboardInterrupt:
        code = int(ExitCode.INTERRUPTED)
    except BaseException:  # noqa: BLE001 (the last stop of a forked process: nothing may run on above it)
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
