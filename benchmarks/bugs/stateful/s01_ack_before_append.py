"""Acknowledges a chunk before its row is on disk."""

from typing import Any

import worker_2


class Planted(worker_2.Worker):
    def handle(self, channel: Any, tag: int, _properties: Any, body: bytes) -> None:
        channel.basic_ack(tag)
        self.process(channel, body)


worker_2.Worker = Planted
worker_2.main()
