"""Dies of a message that is no chunk, which then comes again."""

from typing import Any

import worker_2


class Planted(worker_2.Worker):
    def handle(self, channel: Any, tag: int, _properties: Any, body: bytes) -> None:
        self.process(channel, body)
        channel.basic_ack(tag)


worker_2.Worker = Planted
worker_2.main()
