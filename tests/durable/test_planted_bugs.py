"""The experiments of test_crashes must find each planted bug: an oracle that nothing can fail proves nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.durable.client_rows import ClientRows
from chaoskit.durable.errors import DurableError, InvalidMessageError, WriteFailedError
from chaoskit.durable.files import Disk
from chaoskit.durable.row_index import RowIndex
from chaoskit.durable.stateful import Outcome, StatefulWorkerManager

from .machine import Machine
from .pipeline import Chunk, Pipeline, Worker
from .test_crashes import EXPERIMENTS, Lab

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], type[Worker]]
BUGS: dict[str, tuple[str, Bug]] = {}


def bug(kind: str) -> Callable[[Bug], Bug]:
    """Register a bug under its name, with the kind of experiment that has to find it."""

    def register(plant: Bug) -> Bug:
        BUGS[plant.__name__] = kind, plant
        return plant

    return register


@bug("kill")
def acknowledges_before_it_appends(_patch: Patch) -> type[Worker]:
    class Planted(Worker):
        def handle(self, chunk: Chunk) -> None:
            self.pipeline.acknowledge()
            self.manager.process_message(chunk)
            state = self.manager.get_client_state(chunk.client)
            if state is not None and state.is_ready:
                self.finish(chunk.client)

    return Planted


@bug("power")
def never_calls_fsync_on_files(patch: Patch) -> type[Worker]:
    def append_only(self: Disk, fd: int, name: str, data: bytes, header: bytes) -> int:
        base = os.fstat(fd).st_size
        self._write_all(fd, data if base else header + data)
        if base == 0:
            self._sync_entry(name)
        return base or len(header)

    patch.setattr(Disk, "_append_to", append_only)
    return Worker


@bug("power")
def never_syncs_the_directory_of_a_new_file(patch: Patch) -> type[Worker]:
    patch.setattr(Disk, "_sync_entry", lambda self, name: None)
    return Worker


@bug("kill")
def marks_before_it_sends(_patch: Patch) -> type[Worker]:
    class Planted(Worker):
        def finish(self, client: str) -> None:
            state = self.manager.get_client_state(client)
            assert state is not None
            self.manager.mark_client_ready(client)
            self.pipeline.send(client, state.total)

    return Planted


@bug("kill")
def removes_ready_clients_at_start(_patch: Patch) -> type[Worker]:
    class Planted(Worker):
        def start(self) -> None:
            for client in self.manager.rebuild_state().ready:
                self.manager.mark_client_ready(client)

    return Planted


@bug("kill")
def forgets_finished_clients(patch: Patch) -> type[Worker]:
    patch.setattr(Disk, "create_marker", lambda self, path: None)

    class Planted(Worker):
        def finish(self, client: str) -> None:
            super().finish(client)
            self.manager._finished.clear()

    return Planted


@bug("recovery")
def marker_is_not_synced(patch: Patch) -> type[Worker]:
    def create_only(self: Disk, path: str) -> None:
        self._system.close(self._system.open(path, os.O_CREAT | os.O_WRONLY, 0o644))

    patch.setattr(Disk, "create_marker", create_only)
    return Worker


@bug("kill")
def leaves_a_torn_tail(patch: Patch) -> type[Worker]:
    patch.setattr(Disk, "cut", lambda self, path, length: None)
    return Worker


@bug("kill")
def writes_the_header_only_into_a_new_file(patch: Patch) -> type[Worker]:
    original = Disk.append

    def append(self: Disk, path: str, data: bytes, *, header: bytes = b"") -> int:
        # Never 0, which could not be an offset behind a header.
        return original(self, path, data, header=b"" if os.path.exists(path) else header) or 1

    patch.setattr(Disk, "append", append)
    return Worker


@bug("kill")
def counts_duplicates(patch: Patch) -> type[Worker]:
    patch.setattr(ClientRows, "holds", lambda self, row: False)
    return Worker


@bug("kill")
def counts_duplicate_rows_at_a_rebuild(patch: Patch) -> type[Worker]:
    # Harmless alone, as no id is ever written twice; together with it the file is wrong.
    patch.setattr(ClientRows, "holds", lambda self, row: False)
    patch.setattr(RowIndex, "add", lambda self, message_id, offset: True)
    return Worker


@bug("errno")
def changes_memory_before_the_disk(patch: Patch) -> type[Worker]:
    original = ClientRows.append

    def append(self: ClientRows, rows: list) -> int:
        for row in rows:
            self._index.add(row.message_id, 0)
        return original(self, rows)

    patch.setattr(ClientRows, "append", append)
    patch.setattr(ClientRows, "holds", lambda self, row: row.message_id in self._index)
    return Worker


@bug("errno")
def ignores_short_writes(patch: Patch) -> type[Worker]:
    patch.setattr(Disk, "_write_all", lambda self, fd, data: self._system.write(fd, data))
    return Worker


@bug("errno")
def acknowledges_what_the_disk_refused(_patch: Patch) -> type[Worker]:
    class Planted(Worker):
        def handle(self, chunk: Chunk) -> None:
            try:
                super().handle(chunk)
            except WriteFailedError:
                self.pipeline.acknowledge()

    return Planted


@bug("errno")
def ignores_a_failed_fsync(patch: Patch) -> type[Worker]:
    original = Machine.fsync

    def fsync(self: Machine, fd: int) -> None:
        with contextlib.suppress(OSError):
            original(self, fd)

    patch.setattr(Machine, "fsync", fsync)
    return Worker


@bug("recovery")
def trusts_at_a_rebuild_what_was_never_synced(patch: Patch) -> type[Worker]:
    patch.setattr(Disk, "sync_file", lambda self, path: None)
    return Worker


@bug("power")
def trusts_directory_entries_at_a_rebuild(patch: Patch) -> type[Worker]:
    patch.setattr(Disk, "sync_directory", lambda self, path: None)
    return Worker


@bug("errno")
def keeps_the_bytes_of_a_failed_append(patch: Patch) -> type[Worker]:
    patch.setattr(Disk, "_undo_append", lambda self, fd, name, base: None)
    return Worker


@bug("kill")
def acknowledges_a_duplicate_at_once_and_never_sends_at_start(_patch: Patch) -> type[Worker]:
    class Planted(Worker):
        def start(self) -> None:
            self.manager.rebuild_state()

        def handle(self, chunk: Chunk) -> None:
            outcome = self.manager.process_message(chunk)
            state = self.manager.get_client_state(chunk.client)
            if outcome is Outcome.NEW and state is not None and state.is_ready:
                self.finish(chunk.client)
            self.pipeline.acknowledge()

    return Planted


@bug("errno")
def sends_again_when_only_the_marker_failed(_patch: Patch) -> type[Worker]:
    class Planted(Worker):
        def finish(self, client: str) -> None:
            self.sent.clear()
            super().finish(client)

    return Planted


@bug("errno")
def rejects_what_it_could_not_write(_patch: Patch) -> type[Worker]:
    class Planted(Worker):
        def handle(self, chunk: Chunk) -> None:
            try:
                super().handle(chunk)
            except WriteFailedError as error:
                raise InvalidMessageError("refused") from error

    return Planted


@bug("kill")
def unlinks_the_rows_before_the_marker(patch: Patch) -> type[Worker]:
    original = StatefulWorkerManager.mark_client_ready

    def mark(self: StatefulWorkerManager, client: str) -> None:
        self._remove_rows(client)
        original(self, client)

    patch.setattr(StatefulWorkerManager, "mark_client_ready", mark)
    return Worker


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, quick_path: Path, monkeypatch: Patch) -> None:
    kind, plant = BUGS[name]
    assert first_failure(Lab(quick_path, plant(monkeypatch)), kind), f"no {kind} experiment finds that it {name}"


def first_failure(lab: Lab, kind: str) -> object:
    """Return what failed first, an assertion or another error of the planted worker included."""
    experiments = EXPERIMENTS[kind](lab)
    try:
        return next((what for what, complaints in experiments if complaints), None)
    except (AssertionError, DurableError) as error:
        return repr(error)


def test_a_worker_without_a_planted_bug_is_clean_in_the_first_hundred_experiments(quick_path: Path) -> None:
    experiments = EXPERIMENTS["kill"](Lab(quick_path))
    assert [next(experiments)[1] for _ in range(100)] == [[]] * 100


def test_the_pipeline_itself_notices_a_missing_result(quick_path: Path) -> None:
    pipeline: Pipeline = Lab(quick_path).pipeline()
    pipeline.run()
    pipeline.results.pop()
    assert pipeline.verdict() == ["B has 0 results after 0 deaths"]
