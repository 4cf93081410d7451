"""A partition worker and its broker in one process, around the real PartitionManager and a `Machine`.

The broker has one queue and prefetch 1: the head of the queue stays until it is acknowledged. `Pipeline.run` restarts
the worker after each death and returns when the queue is empty. At each forward it looks at the files as a verifier
would, and `verdict` says at the end what is wrong with them. The verifier shares no code with the manager.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chaoskit.durable.errors import InvalidMessageError, MustExitError, UnusableFileError, WriteFailedError
from chaoskit.durable.partition import ChunkStatus, PartitionManager

from .machine import Crash, Machine

COLUMNS = ("user_id", "name")
CLIENT = "T"
PARTITIONS = 2
_MOST_LIVES = 30
_MOST_RETRIES = 5

Row = tuple[str, str]
MakeManager = Callable[[Machine], PartitionManager]


class Chunk(NamedTuple):
    id: str
    rows: tuple[Row, ...]


def data_dir(machine: Machine) -> Path:
    return machine.root / "data"


def make_manager(machine: Machine, kind: type[PartitionManager] = PartitionManager) -> PartitionManager:
    return kind(data_dir(machine), PARTITIONS, columns=COLUMNS, system=machine)


def rows_in_files(machine: Machine) -> list[Counter[Row]]:
    """The rows of each partition, after the header; raises ValueError for a file that is not whole CSV."""
    return [_rows(machine, partition) for partition in range(PARTITIONS)]


def _rows(machine: Machine, partition: int) -> Counter[Row]:
    path = data_dir(machine) / "partitions" / f"{CLIENT}-users-partition-{partition:03d}.csv"
    text = path.read_bytes().decode() if path.exists() else ""
    if not text:
        return Counter()
    if not text.endswith("\n"):
        raise ValueError(f"{path.name} ends with a torn line")
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"{path.name}: {error}") from error
    if tuple(header) != COLUMNS or not all(len(row) == 2 for row in rows):
        raise ValueError(f"{path.name} has the header {header} or rows that are no rows")
    return Counter((user, name) for user, name in rows)


def expected_rows(chunks: list[Chunk]) -> list[Counter[Row]]:
    expected: list[Counter[Row]] = [Counter() for _ in range(PARTITIONS)]
    for chunk in chunks:
        for row in chunk.rows:
            expected[int(row[0]) % PARTITIONS][row] += 1
    return expected


class Worker:
    """The order of steps that a worker has to keep; planted bugs override a step."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.manager = pipeline.make_manager(pipeline.machine)
        self.confirmed_id = ""

    def start(self) -> None:
        self.manager.recover()

    def handle(self, chunk: Chunk) -> None:
        result = self.manager.write_chunk(CLIENT, chunk.id, chunk.rows)
        if result.status is not ChunkStatus.PROCESSED:
            if self.confirmed_id != chunk.id:
                self.pipeline.forward(chunk)
                self.confirmed_id = chunk.id
            self.manager.mark_processed(chunk.id)
        self.pipeline.acknowledge()


class Pipeline:
    """Runs `chunks` through a worker to the end, over as many lives as it takes."""

    def __init__(
        self,
        machine: Machine,
        chunks: list[Chunk],
        make_manager: MakeManager = make_manager,
        make_worker: Callable[[Pipeline], Worker] = Worker,
    ) -> None:
        self.machine, self.queue, self.make_manager, self.make_worker = machine, list(chunks), make_manager, make_worker
        self.chunks = list({chunk.id: chunk for chunk in chunks}.values())
        self.forwarded: list[Chunk] = []
        self.complaints: list[str] = []
        self.deaths = 0
        self.on_death: Callable[[int], None] = lambda _deaths: None

    def forward(self, chunk: Chunk) -> None:
        if self.machine.is_dead:
            raise Crash
        self.forwarded.append(chunk)
        self._look_at_forwarded_rows()

    def _look_at_forwarded_rows(self) -> None:
        told = expected_rows(list({chunk.id: chunk for chunk in self.forwarded}.values()))
        try:
            there = rows_in_files(self.machine)
        except ValueError as error:
            self.complaints.append(str(error))
            return
        for partition, rows in enumerate(told):
            if missing := rows - there[partition]:
                self.complaints.append(f"partition {partition} lacks {dict(missing)}")

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
                except (InvalidMessageError, UnusableFileError) as error:
                    self.complaints.append(f"{self.queue.pop(0).id} was rejected: {error}")
        except (Crash, MustExitError, WriteFailedError):
            return False
        return True

    def verdict(self) -> list[str]:
        """Return what is wrong: a row lost, doubled or from nowhere, a torn file, state files that disagree."""
        # A last start on top of a finished run must change nothing.
        self.machine.restart()
        self.make_manager(self.machine).recover()
        complaints = list(self.complaints)
        try:
            there = rows_in_files(self.machine)
        except ValueError as error:
            return [*complaints, str(error)]
        for partition, (found, expected) in enumerate(zip(there, expected_rows(self.chunks), strict=True)):
            if found != expected:
                complaints.append(
                    f"partition {partition}: {dict(found - expected)} more, {dict(expected - found)} less"
                )
        for chunk in self.chunks:
            count = sum(1 for forwarded in self.forwarded if forwarded.id == chunk.id)
            if not 1 <= count <= 1 + self.deaths:
                complaints.append(f"{chunk.id} was forwarded {count} times with {self.deaths} deaths")
        return complaints + self._state_complaints()

    def _state_complaints(self) -> list[str]:
        state = data_dir(self.machine) / "state"
        processed = (state / "processed-chunks.txt").read_text().splitlines()
        written = (state / "written-partition-chunks.txt").read_text().splitlines()
        pairs = [f"{p}:{c.id}" for c in self.chunks for p in sorted({int(user) % PARTITIONS for user, _ in c.rows})]
        complaints = []
        if sorted(processed) != sorted(chunk.id for chunk in self.chunks):
            complaints.append(f"processed-chunks.txt holds {processed}")
        if sorted(written) != sorted(pairs):
            complaints.append(f"written-partition-chunks.txt holds {written}, not {pairs}")
        return complaints
