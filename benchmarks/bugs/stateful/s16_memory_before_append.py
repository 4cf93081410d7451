"""Changes what it knows in memory before the row is on disk, so a row that failed is taken for a known one."""

from collections.abc import Sequence

import worker_2

from chaoskit.durable.client_rows import ClientRows
from chaoskit.durable.row_format import Row
from chaoskit.durable.stateful import StatefulWorkerManager

append, new_client = ClientRows.append, StatefulWorkerManager._new_client


def append_after_memory(self: ClientRows, rows: Sequence[Row]) -> int:
    for row in rows:
        self._index.add(row.message_id, 0)
    return append(self, rows)


def known_client(self: StatefulWorkerManager, client_id: str) -> object:
    self._clients[client_id] = new_client(self, client_id)
    return self._clients[client_id]


ClientRows.append = append_after_memory
ClientRows.holds = lambda self, row: row.message_id in self._index
StatefulWorkerManager._new_client = known_client
worker_2.main()
