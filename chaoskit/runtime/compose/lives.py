"""One life of a container: started with its output attached, its lines heard, its end awaited. A thread each."""

import asyncio
import calendar
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose.engine import ERRORS, problem_of
from chaoskit.runtime.processes import Lines

# An engine waits longer before each restart, up to a minute.
_RESTART_S = 90.0
_LOOK_AGAIN_S = 0.05
_LOG_LIMIT_BYTES = 64 * 1024 * 1024
_LOG_CUT = b"\n(chaoskit: the log is cut here, the program floods)\n"


class GivenUp(Exception):
    """Nobody waits any more for a container to be started."""


class Log:
    """The log file of a program, over all its lives; a program that floods must not fill the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._bytes = self._file.tell()

    def write(self, data: bytes) -> None:
        """Append, up to the limit, and until it is closed: a container may outlive its run."""
        if self._bytes <= _LOG_LIMIT_BYTES and not self._file.closed:
            self._bytes += len(data)
            self._file.write(data if self._bytes <= _LOG_LIMIT_BYTES else _LOG_CUT)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Life:
    """Started by `begin`. The callbacks run in the loop: `on_line` a line, then `on_exit` the code, `on_lost` a reason.

    The code is as the shell counts, negative for a signal: a container tells no more than 128 + the signal. With
    `after`, the `started_at` of the life before, the container is not started: somebody else is waited for to do it,
    until that is `given_up`, and `begin` raises GivenUp.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        container: str,
        log: Log,
        on_line: Callable[[str], None],
        on_exit: Callable[[int], None],
        on_lost: Callable[[str], None],
        after: str | None = None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._after, self._given_up = after, given_up
        self.started_at = ""
        self._client, self._container, self._log = client, container, log
        self._on_line, self._on_exit, self._on_lost = on_line, on_exit, on_lost
        self._lines = Lines()
        self._loop = asyncio.get_running_loop()

    async def begin(self) -> int:
        """Start the container; its first process id on the engine's machine. Raises the errors of the Docker SDK."""
        return await asyncio.to_thread(self._begin)

    def _begin(self) -> int:
        output = self._start() if self._after is None else self._await_start(self._after)
        state = self._state()
        self.started_at = state["StartedAt"]
        threading.Thread(
            target=self._follow, args=(output,), name=f"log of {self._container[:12]}", daemon=True
        ).start()
        # It may have ended already: then it has no process any more, and that is 0.
        return int(state["Pid"])

    def _start(self) -> Iterator[bytes]:
        api = self._client.api
        output: Iterator[bytes] = api.attach(self._container, stdout=True, stderr=True, stream=True, logs=False)
        api.start(self._container)
        return output

    def _await_start(self, before: str) -> Iterator[bytes]:
        deadline_s = time.monotonic() + _RESTART_S
        # Asked before each look: a start that came before it was given up is seen.
        given_up = self._given_up()
        while (state := self._state())["StartedAt"] == before:
            if given_up:
                raise GivenUp
            if time.monotonic() > deadline_s:
                policy = self._client.api.inspect_container(self._container)["HostConfig"]["RestartPolicy"]["Name"]
                raise EnvironmentProblem(
                    f"`restart: engine`, and nobody started it again in {_RESTART_S:g} s; "
                    f"its restart policy is {policy or 'no'!r}"
                )
            time.sleep(_LOOK_AGAIN_S)
            given_up = self._given_up()
        since = float(_seconds(state["StartedAt"]))
        output: Iterator[bytes] = self._client.api.logs(self._container, stream=True, follow=True, since=since)
        return output

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._client.api.inspect_container(self._container)["State"]
        return state

    def _follow(self, output: Iterator[bytes]) -> None:
        try:
            for chunk in output:
                self._call(self._take, chunk)
            status = self._status()
        except (*ERRORS, OSError) as error:
            self._call(self._on_lost, str(problem_of(error, "following a container")))
            return
        self._call(self._end, -(status - 128) if 128 < status <= 128 + 64 else status)

    def _status(self) -> int:
        """How this life ended, which a container that was started again meanwhile does not tell any more."""
        filters = {"container": self._container, "event": "die", "type": "container"}
        api: Any = self._client.api
        deaths = api.events(since=_seconds(self.started_at), filters=filters, decode=True)
        try:
            for death in deaths:
                return int(death["Actor"]["Attributes"]["exitCode"])
        finally:
            deaths.close()
        # Its stream of events goes on for ever.
        raise OSError("the engine has ended")

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


def _seconds(moment: str) -> str:
    """A time of the engine's (RFC 3339, UTC) in seconds since 1970, with its nanoseconds."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    return f"{calendar.timegm(time.strptime(whole, '%Y-%m-%dT%H:%M:%S'))}.{fraction or 0}"
