"""Acknowledges a chunk when it is forwarded, and records afterwards that it is processed."""

from typing import Any

import amqp
import worker_2

from chaoskit.durable.partition import ChunkStatus


class Planted(worker_2.Worker):
    def handle(self, channel: Any, tag: int, _properties: Any, body: bytes) -> None:
        chunk = worker_2.Chunk(body)
        result = self.manager.write_chunk(chunk.client_id, chunk.id, chunk.rows)
        if result.status is not ChunkStatus.PROCESSED:
            amqp.publish(channel, self.output_queue, chunk.id, body)
        channel.basic_ack(tag)
        self.manager.mark_processed(chunk.id)


worker_2.Worker = Planted
worker_2.main()
