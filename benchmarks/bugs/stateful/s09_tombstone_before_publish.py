"""Marks a client as finished before its result is sent."""

import json
from typing import Any

import amqp
import worker_2


class Planted(worker_2.Worker):
    def finish(self, channel: Any, client_id: str) -> None:
        state = self.manager.get_client_state(client_id)
        self.manager.mark_client_ready(client_id)
        body = json.dumps({"client_id": client_id, "sum": state.total}).encode()
        amqp.publish(channel, self.output_queue, f"{client_id}/result", body)


worker_2.Worker = Planted
worker_2.main()
