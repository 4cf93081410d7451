"""Acknowledges a chunk whose row the disk refused."""

import contextlib
from typing import Any

import worker_2

from chaoskit.durable.errors import WriteFailedError


class Planted(worker_2.Worker):
    def process(self, channel: Any, body: bytes) -> None:
        with contextlib.suppress(WriteFailedError):
            super().process(channel, body)


worker_2.Worker = Planted
worker_2.main()
