"""Programs of a scenario as subprocesses of a test: their output line by line, and waits that have a limit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 30.0


class Program:
    """One running program. Use as a context manager: it is killed at the end."""

    def __init__(self, script: Path, environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, script.name],
            cwd=script.parent,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """Return the line that matches the regular expression for the n-th time; fails after the limit."""

        def found() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)]

        with self._changed:
            ok = self._changed.wait_for(lambda: len(found()) >= times, LIMIT_S)
        assert ok, f"{pattern!r} did not come {times} times; the output is:\n" + "\n".join(self.lines)
        return found()[times - 1]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        code = self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return code
