"""Where launchers knock: a socket for each tapped program, in the volume that its container shares with the agent."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from chaoskit import tap
from chaoskit.agent.tasks import raised
from chaoskit.agent.wire import SOCKETS

_BRING_S = 10.0


class Doors:
    """Opens a door a program; `arrived` gets the program and the listener that its launcher brought."""

    def __init__(self, arrived: Callable[[str, int], None], failed: Callable[[str, str], None]) -> None:
        self._arrived, self._failed = arrived, failed
        self._doors: dict[str, tap.Door] = {}
        self._greeting: set[asyncio.Task[None]] = set()
        Path(SOCKETS).mkdir(mode=0o755, parents=True, exist_ok=True)

    def open(self, program: str) -> None:
        """Have a door for a program. Raises OSError."""
        if program not in self._doors:
            path = Path(SOCKETS) / program
            path.unlink(missing_ok=True)
            door = self._doors[program] = tap.Door(path)
            asyncio.get_running_loop().add_reader(door.fileno(), self._knock, program, door)

    def _knock(self, program: str, door: tap.Door) -> None:
        try:
            channel = door.greet()
        except (BlockingIOError, ConnectionError):
            # A launcher that was killed while it knocked: its container's end is told by the engine.
            return
        task = asyncio.ensure_future(self._greet(program, channel))
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)
        task.add_done_callback(raised)

    async def _greet(self, program: str, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        brought: asyncio.Future[int | None] = loop.create_future()

        def receive() -> None:
            if not brought.done():
                brought.set_result(tap.receive(channel)[1])

        with channel:
            loop.add_reader(channel.fileno(), receive)
            try:
                async with asyncio.timeout(_BRING_S):
                    listener_fd = await brought
            except (OSError, TimeoutError) as error:
                self._failed(program, f"its launcher brought no listener: {error or 'no answer'}")
                return
            finally:
                loop.remove_reader(channel.fileno())
            if listener_fd is None:
                self._failed(program, "its launcher ended before the filter was installed")
                return
        try:
            self._arrived(program, listener_fd)
        except OSError as error:
            os.close(listener_fd)
            self._failed(program, str(error))
