"""The agent's process: commands from standard input, answers and events to standard output, until the input ends."""

import asyncio
import os
import sys
import time
import traceback
from typing import Any

from chaoskit.agent.desk import Desk
from chaoskit.agent.wire import LINE_LIMIT_BYTES, pack, unpack


class _Output:
    """Standard output, written as a whole line at a time; the engine reads it all the time."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        # Whatever else prints must not stand between the lines.
        os.dup2(2, 1)

    def send(self, body: dict[str, Any]) -> None:
        line = pack(body)
        while line:
            line = line[os.write(self._fd, line) :]

    def tell(self, event: str, **fields: Any) -> None:
        """Send an event, dated."""
        self.send({"event": event, "at_s": time.monotonic(), **fields})


async def _answer(desk: Desk, output: _Output, line: bytes) -> None:
    request = unpack(line)
    number, command = request.pop("id"), request.pop("do")
    try:
        output.send({"id": number, "ok": await desk.do(command, request)})
    except (OSError, ValueError) as error:
        output.send({"id": number, "error": str(error) or type(error).__name__})
    except Exception as error:  # noqa: BLE001 (a bug of ours must reach the engine, not only a container's log)
        traceback.print_exc()
        output.send({"id": number, "error": f"{command}: {type(error).__name__}: {error}"})


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    output = _Output()
    # An exception in a callback would otherwise be a line in a log that nobody reads, and a quiet run.
    loop.set_exception_handler(lambda _, context: _broken(output, context))
    desk = Desk(output.tell)
    reader = asyncio.StreamReader(LINE_LIMIT_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    output.tell("hello", **desk.hello())
    try:
        # One after the other: the engine relies on the order of its commands.
        while line := await reader.readline():
            await _answer(desk, output, line)
    finally:
        await desk.close()


def _broken(output: _Output, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, BaseException):
        traceback.print_exception(error)
    output.tell("broken", reason=f"{context.get('message')}: {error!r}")


def main() -> int:
    """Serve until standard input ends."""
    asyncio.run(_serve())
    return 0
