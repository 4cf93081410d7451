"""The embedded broker by itself, on loopback, until it is interrupted: for trying a worker against it."""

import asyncio
import errno
import os
from collections.abc import Callable

from chaoskit.broker.server import EmbeddedBroker
from chaoskit.engine.interrupts import interruptible
from chaoskit.model.errors import EnvironmentProblem

HOST = "127.0.0.1"
USER = PASSWORD = "guest"


def serve(port: int, listening: Callable[[int], None]) -> None:
    """Serve until Ctrl-C or SIGTERM. `listening` hears the port (0 takes any). Raises EnvironmentProblem."""
    asyncio.run(_serve(port, listening))


async def _serve(port: int, listening: Callable[[int], None]) -> None:
    interrupted = asyncio.Event()
    with interruptible(interrupted.set):
        broker = EmbeddedBroker({USER: PASSWORD})
        try:
            await broker.start(HOST, port)
        except OSError as e:
            why = "the port is taken" if e.errno == errno.EADDRINUSE else os.strerror(e.errno or 0)
            raise EnvironmentProblem(f"no broker on {HOST}:{port}: {why}; choose another with --port N") from None
        try:
            listening(broker.port)
            await interrupted.wait()
        finally:
            await broker.close()
