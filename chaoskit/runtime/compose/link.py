"""The connection to the agent: its container is started attached, commands go in, answers and events come out.

It lives and dies with this process: when the connection ends, the agent ends, and with it every call that it holds
fails. An agent that ends by itself is told to `on_lost`.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from chaoskit.agent.wire import LINE_LIMIT_BYTES, pack, unpack
from chaoskit.model.errors import EnvironmentProblem

_ANSWER_S = 60.0
# Volumes are copied, and a broker starts: both have limits of the agent's.
_LONG_ANSWER_S = 660.0
_LONG = ("keep", "begin", "await_broker")
_HELLO_S = 30.0
_END_S = 5.0
_STDERR_LINES = 5
# The `docker` command writes some of its errors as log lines.
_SAID_IN_LOG = re.compile(r'level=\w+ msg="(.*)"')
Event = dict[str, Any]


class AgentLink:
    """One running agent. `on_event` hears its events, their times (`t_s`) in this machine's monotonic seconds."""

    def __init__(self, on_lost: Callable[[str], None]) -> None:
        self.on_event: Callable[[Event], None] = lambda event: None
        self.hello: Event = {}
        self._on_lost = on_lost
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._offset_s = 0.0
        self._greeted = asyncio.Event()
        self._complaints: deque[str] = deque(maxlen=_STDERR_LINES)
        self._closing = False

    async def open(self, command: list[str]) -> None:
        """Start the agent with a command that attaches to it. Raises EnvironmentProblem when it does not say hello."""
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT_BYTES,
            # Ctrl-C is for us: we end the agent in order.
            start_new_session=True,
        )
        self._tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._read_complaints())]
        try:
            async with asyncio.timeout(_HELLO_S):
                await self._greeted.wait()
        except TimeoutError:
            raise EnvironmentProblem(f"the agent's container does not start: {self._last_words()}") from None
        if self._closing or not self.hello:
            raise EnvironmentProblem(f"the agent did not come up: {self._last_words()}")
        await self.set_clock()

    async def set_clock(self) -> None:
        """Compare the clocks: they drift apart, and a virtual machine's stands still when it sleeps."""
        before_s = time.monotonic()
        there_s = await self.ask("clock")
        self._offset_s = (before_s + time.monotonic()) / 2 - float(there_s)

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Give a command and wait for its answer. Raises EnvironmentProblem when it fails or the agent is gone."""
        answer = self._send(do, arguments)
        within_s = _LONG_ANSWER_S if do in _LONG else _ANSWER_S
        try:
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            raise EnvironmentProblem(f"the agent did not answer {do!r} in {within_s:g} s") from None

    def tell(self, do: str, **arguments: Any) -> None:
        """Give a command and go on; commands are carried out in their order."""
        self._send(do, arguments).add_done_callback(self._told)

    def _told(self, answer: asyncio.Future[Any]) -> None:
        """A command that nobody waits for is over; where it failed, a run would otherwise go on as if it had not."""
        error = None if answer.cancelled() else answer.exception()
        if error is not None and not self._closing:
            self._on_lost(str(error))

    def _send(self, do: str, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing() or self._closing:
            answer.set_exception(EnvironmentProblem("the agent is gone"))
            return answer
        self._answers[self._number] = answer
        process.stdin.write(pack({"id": self._number, "do": do, **arguments}))
        return answer

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._take(unpack(line))
        except ValueError as error:
            self._complaints.append(f"it said what is no line of an agent: {error}")
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await self._process.wait()
            self._ended()

    def _take(self, body: Event) -> None:
        if "event" not in body:
            answer = self._answers.pop(body["id"], None)
            if answer is None or answer.done():
                return
            if "error" in body:
                answer.set_exception(EnvironmentProblem(f"the agent: {body['error']}"))
            else:
                answer.set_result(body["ok"])
            return
        body["t_s"] = float(body["at_s"]) + self._offset_s
        if body["event"] == "hello":
            self.hello = body
            self._greeted.set()
        else:
            self._hear(body)

    def _hear(self, event: Event) -> None:
        try:
            self.on_event(event)
        except Exception as error:  # noqa: BLE001 (a bug of ours must end the run, and not only this connection)
            context = {"message": f"hearing {event['event']!r} of the agent", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def local_s(self, there_s: float) -> float:
        """A time of the agent's clock in this machine's monotonic seconds."""
        return there_s + self._offset_s

    async def _read_complaints(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        while line := await self._process.stderr.readline():
            text = line.decode(errors="replace").strip()
            said = _SAID_IN_LOG.search(text)
            self._complaints.append(said[1] if said else text)

    def _last_words(self) -> str:
        code = self._process.returncode if self._process is not None else None
        return "; ".join(self._complaints) or (f"its container ended with code {code}" if code else "it says nothing")

    def _ended(self) -> None:
        self._greeted.set()
        lost, self._closing = not self._closing, True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EnvironmentProblem(f"the agent is gone: {self._last_words()}"))
        self._answers.clear()
        if lost:
            self._on_lost(self._last_words())

    async def close(self) -> None:
        """End the agent, and wait until the connection is closed."""
        self._closing = True
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
