"""Planted bug: a message is acknowledged before its row is on disk, so a kill in between loses it."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4] / "scenarios" / "stateful"))

import worker_2


class AcknowledgesFirst(worker_2.Worker):
    def handle(self, channel: Any, tag: int, properties: Any, body: bytes) -> None:
        channel.basic_ack(tag)
        self.process(channel, body)


worker_2.Worker = AcknowledgesFirst
worker_2.main()
