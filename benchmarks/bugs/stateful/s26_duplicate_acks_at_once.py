"""Acknowledges a known chunk at once, and sends no result at a start: one of the two has to."""

from typing import Any

import amqp
import worker_2

from chaoskit.durable.stateful import Outcome


class Planted(worker_2.Worker):
    def serve(self, channel: Any) -> None:
        amqp.declare(channel, self.input_queue)
        amqp.declare(channel, self.output_queue)
        amqp.consume(channel, self.input_queue, self.stop, self.handle)

    def process(self, channel: Any, body: bytes) -> None:
        chunk = worker_2.Chunk(body)
        if self.manager.process_message(chunk) is not Outcome.NEW:
            return
        if self.manager.get_client_state(chunk.client_id).is_ready:
            self.finish(channel, chunk.client_id)


worker_2.Worker = Planted
worker_2.main()
