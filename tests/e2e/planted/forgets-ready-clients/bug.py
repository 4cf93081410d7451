"""Planted bug: at startup the files of ready clients are deleted, whether their result was sent or not."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4] / "scenarios" / "stateful"))

import worker_2


class ForgetsReadyClients(worker_2.Worker):
    def serve(self, channel: Any) -> None:
        for client_id in self.manager.ready_clients():
            self.manager.mark_client_ready(client_id)
        super().serve(channel)


worker_2.Worker = ForgetsReadyClients
worker_2.main()
