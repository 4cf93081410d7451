"""Planted bug: a message that comes again is counted again."""

import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4] / "scenarios" / "stateful"))

import worker_2

from chaoskit.durable.stateful import MessageRow


class AlwaysNew(worker_2.Chunk):
    def row(self) -> MessageRow:
        return MessageRow(self.client_id, (uuid.uuid4().hex, self.number, self.value))


class CountsAll(worker_2.ClientSum):
    chunks = 0

    def update_state(self, row: dict[str, str]) -> None:
        self.chunks += 1
        self.total += int(row["value"])


worker_2.Chunk, worker_2.ClientSum = AlwaysNew, CountsAll
worker_2.main()
