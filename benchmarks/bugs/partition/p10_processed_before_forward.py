"""Records a chunk as processed before it is forwarded."""

from typing import Any

import amqp
import worker_2

from chaoskit.durable.partition import ChunkStatus


class Planted(worker_2.Worker):
    def process(self, channel: Any, body: bytes) -> None:
        chunk = worker_2.Chunk(body)
        result = self.manager.write_chunk(chunk.client_id, chunk.id, chunk.rows)
        if result.status is not ChunkStatus.PROCESSED:
            self.manager.mark_processed(chunk.id)
            amqp.publish(channel, self.output_queue, chunk.id, body)


worker_2.Worker = Planted
worker_2.main()
