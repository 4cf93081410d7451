"""Puts a message that is no chunk back into the queue, again and again."""

from typing import Any

import worker_2

from chaoskit.durable.errors import InvalidMessageError


class Planted(worker_2.Worker):
    def handle(self, channel: Any, tag: int, properties: Any, body: bytes) -> None:
        try:
            worker_2.Chunk(body)
        except InvalidMessageError:
            channel.basic_nack(tag, requeue=True)
        else:
            super().handle(channel, tag, properties, body)


worker_2.Worker = Planted
worker_2.main()
