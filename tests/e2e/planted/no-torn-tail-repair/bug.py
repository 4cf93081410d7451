"""Planted bug: a last row that was torn in its value is taken for a whole one when the state is rebuilt."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4] / "scenarios" / "stateful"))

import worker_2

from chaoskit.durable.stateful import Outcome

HEADER = "msg_id,chunk_number,value\n"


class NoRepair:
    """Appends with fsync and knows duplicates; only a torn tail is beyond it."""

    def __init__(self, directory: str, build: Any, extract: Any, *_: Any, **__: Any) -> None:
        self.directory, self.build, self.extract = Path(directory), build, extract
        self.rows: dict[str, dict[str, dict[str, str]]] = {}

    def rebuild_state(self) -> None:
        (self.directory / "done").mkdir(parents=True, exist_ok=True)
        for path in self.directory.glob("*.csv"):
            self.rows[path.stem] = {}
            for line in path.read_text().splitlines()[1:]:
                msg_id, number, value = line.split(",")
                self.rows[path.stem][msg_id] = {"msg_id": msg_id, "chunk_number": number, "value": value}

    def process_message(self, chunk: Any) -> Outcome:
        client_id, (msg_id, number, value) = self.extract(chunk)
        if (self.directory / "done" / client_id).exists():
            return Outcome.FINISHED
        if msg_id in self.rows.setdefault(client_id, {}):
            return Outcome.DUPLICATE
        with (self.directory / f"{client_id}.csv").open("a") as file:
            file.write(f"{HEADER if file.tell() == 0 else ''}{msg_id},{number},{value}\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[client_id][msg_id] = {"msg_id": msg_id, "chunk_number": str(number), "value": str(value)}
        return Outcome.NEW

    def get_client_state(self, client_id: str) -> Any:
        state = self.build(client_id)
        for row in self.rows.get(client_id, {}).values():
            state.update_state(row)
        return state

    def ready_clients(self) -> list[str]:
        return [client_id for client_id in self.rows if self.get_client_state(client_id).is_ready]

    def mark_client_ready(self, client_id: str) -> None:
        (self.directory / "done" / client_id).touch()
        (self.directory / f"{client_id}.csv").unlink(missing_ok=True)
        self.rows.pop(client_id, None)


worker_2.StatefulWorkerManager = NoRepair
worker_2.main()
