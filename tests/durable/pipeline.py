"""A worker and its broker in one process, around the real StatefulWorkerManager and a `Machine`.

The broker has one queue and prefetch 1: the head of the queue stays until it is acknowledged. Results are sent at
least once. `Pipeline.run` restarts the worker after each death and returns when the queue is empty; `verdict` then says
what a verifier, who knows how often the worker died, would complain about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chaoskit.durable.errors import InvalidMessageError, MustExitError, WriteFailedError
from chaoskit.durable.stateful import Outcome, StatefulWorkerManager

from .machine import Crash, Machine

COLUMNS = ("msg_id", "chunk_number", "value")
_MOST_LIVES = 30
_MOST_RETRIES = 5


class Chunk(NamedTuple):
    client: str
    number: int

    @property
    def row(self) -> tuple[str, int, int]:
        return f"{self.client}{self.number:08d}", self.number, 10 * self.number


class Sum:
    """Ready after `expected` rows."""

    def __init__(self, expected: int) -> None:
        self.expected, self.rows, self.total = expected, 0, 0

    @property
    def is_ready(self) -> bool:
        return self.rows >= self.expected

    def update_state(self, row: dict[str, str]) -> None:
        self.total += int(row["value"])
        self.rows += 1


Manager = StatefulWorkerManager[Chunk, Sum]
MakeManager = Callable[[Machine, int], Manager]


def make_manager(machine: Machine, expected: int, kind: type[StatefulWorkerManager] = StatefulWorkerManager) -> Manager:
    return kind(
        machine.root / "metadata",
        lambda _client: Sum(expected),
        lambda chunk: (chunk.client, chunk.row),
        COLUMNS,
        log=lambda _line: None,
        system=machine,
    )


class Worker:
    """The order of steps that a worker has to keep; planted bugs override a step."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.manager = pipeline.make_manager(pipeline.machine, pipeline.expected)
        self.sent: set[str] = set()

    def start(self) -> None:
        for client in self.manager.rebuild_state().ready:
            self.finish(client)

    def handle(self, chunk: Chunk) -> None:
        outcome = self.manager.process_message(chunk)
        if outcome is not Outcome.FINISHED:
            state = self.manager.get_client_state(chunk.client)
            assert state is not None
            if state.is_ready:
                self.finish(chunk.client)
        self.pipeline.acknowledge()

    def finish(self, client: str) -> None:
        state = self.manager.get_client_state(client)
        assert state is not None
        if client not in self.sent:
            self.pipeline.send(client, state.total)
            self.sent.add(client)
        self.manager.mark_client_ready(client)


class Pipeline:
    """Runs `chunks` through a worker to the end, over as many lives as it takes."""

    def __init__(
        self,
        machine: Machine,
        chunks: list[Chunk],
        expected: int,
        *,
        make_manager: MakeManager = make_manager,
        make_worker: Callable[[Pipeline], Worker] = Worker,
    ) -> None:
        self.machine, self.queue, self.expected = machine, list(chunks), expected
        self.make_manager, self.make_worker = make_manager, make_worker
        self.clients = {chunk.client for chunk in chunks}
        self.results: list[tuple[str, int]] = []
        self.deaths = 0
        self.rejected: list[Chunk] = []
        self.on_death: Callable[[int], None] = lambda _deaths: None

    def send(self, client: str, total: int) -> None:
        if self.machine.is_dead:
            raise Crash
        self.results.append((client, total))

    def acknowledge(self) -> None:
        if self.machine.is_dead:
            raise Crash
        self.queue.pop(0)

    def run(self) -> None:
        while not self._one_life():
            self.deaths += 1
            assert self.deaths < _MOST_LIVES, "the worker does not get to the end"
            self.machine.restart()
            self.on_death(self.deaths)

    def _one_life(self) -> bool:
        try:
            worker = self.make_worker(self)
            worker.start()
            retries = 0
            while self.queue:
                try:
                    worker.handle(self.queue[0])
                    retries = 0
                except WriteFailedError:
                    retries += 1
                    if retries > _MOST_RETRIES:
                        return False
                except InvalidMessageError:
                    self.rejected.append(self.queue.pop(0))
        except (Crash, MustExitError):
            return False
        # The first WriteFailedError out of start() ends a life as well: nothing is in hand there.
        except WriteFailedError:
            return False
        return True

    def verdict(self) -> list[str]:
        """Return what is wrong: wrong sums, missing results, more results than deaths explain, remains on disk."""
        right = sum(10 * number for number in range(1, self.expected + 1))
        complaints = [f"{client} got {total}" for client, total in self.results if total != right]
        for client in sorted(self.clients):
            count = sum(1 for name, _ in self.results if name == client)
            if not 1 <= count <= 1 + self.deaths:
                complaints.append(f"{client} has {count} results after {self.deaths} deaths")
        # Rows of a finished client may stay behind after a failed unlink, but not beyond the next start.
        self.machine.restart()
        rebuilt = self.make_manager(self.machine, self.expected).rebuild_state()
        if rebuilt.rows or rebuilt.finished != self.clients:
            complaints.append(f"a last start finds the rows {rebuilt.rows} and finished {set(rebuilt.finished)}")
        if self.rejected:
            complaints.append(f"good messages were rejected: {self.rejected}")
        return complaints
