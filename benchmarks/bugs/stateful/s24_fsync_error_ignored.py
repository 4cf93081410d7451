"""Goes on after an fsync that failed."""

import contextlib
import functools
import os
from typing import Any

import worker_2

from chaoskit.durable.stateful import StatefulWorkerManager


class Careless:
    """The system calls of `os`, but fsync never complains."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            os.fsync(fd)


worker_2.StatefulWorkerManager = functools.partial(StatefulWorkerManager, system=Careless())
worker_2.main()
