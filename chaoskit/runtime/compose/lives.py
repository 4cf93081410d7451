"""One life of a container: started with its output attached, its lines heard, its end awaited. A thread each."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import docker

from chaoskit.runtime.compose.engine import ERRORS, problem_of
from chaoskit.runtime.processes import Lines

_LOG_LIMIT_BYTES = 64 * 1024 * 1024
_LOG_CUT = b"\n(chaoskit: the log is cut here, the program floods)\n"


class Log:
    """The log file of a program, over all its lives; a program that floods must not fill the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._bytes = self._file.tell()

    def write(self, data: bytes) -> None:
        """Append, up to the limit."""
        if self._bytes <= _LOG_LIMIT_BYTES:
            self._bytes += len(data)
            self._file.write(data if self._bytes <= _LOG_LIMIT_BYTES else _LOG_CUT)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Life:
    """Started by `begin`. The callbacks run in the loop: `on_line` a line, then `on_exit` the code, `on_lost` a reason.

    The code is as the shell counts, negative for a signal: a container tells no more than 128 + the signal.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        container: str,
        log: Log,
        on_line: Callable[[str], None],
        on_exit: Callable[[int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._client, self._container, self._log = client, container, log
        self._on_line, self._on_exit, self._on_lost = on_line, on_exit, on_lost
        self._lines = Lines()
        self._loop = asyncio.get_running_loop()

    async def begin(self) -> int:
        """Start the container; its first process id on the engine's machine. Raises the errors of the Docker SDK."""
        return await asyncio.to_thread(self._begin)

    def _begin(self) -> int:
        api = self._client.api
        output = api.attach(self._container, stdout=True, stderr=True, stream=True, logs=False)
        api.start(self._container)
        threading.Thread(
            target=self._follow, args=(output,), name=f"log of {self._container[:12]}", daemon=True
        ).start()
        # It may have ended already: then it has no process any more, and that is 0.
        return int(api.inspect_container(self._container)["State"]["Pid"])

    def _follow(self, output: Iterator[bytes]) -> None:
        try:
            for chunk in output:
                self._call(self._take, chunk)
            status = int(self._client.api.wait(self._container)["StatusCode"])
        except (*ERRORS, OSError) as error:
            self._call(self._on_lost, str(problem_of(error, "following a container")))
            return
        self._call(self._end, -(status - 128) if 128 < status <= 128 + 64 else status)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop is closed: the run is over, and nobody listens any more.
            return

    def _take(self, chunk: bytes) -> None:
        self._log.write(chunk)
        for line in self._lines.feed(chunk):
            self._on_line(line)

    def _end(self, code: int) -> None:
        for line in self._lines.end():
            self._on_line(line)
        self._on_exit(code)
