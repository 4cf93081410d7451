"""Removes a client's rows before its result is sent."""

from typing import Any

import worker_2


class Planted(worker_2.Worker):
    def finish(self, channel: Any, client_id: str) -> None:
        self.manager._remove_rows(client_id)
        super().finish(channel, client_id)


worker_2.Worker = Planted
worker_2.main()
