"""StatefulWorkerManager: the state of each client of a worker, durable by message, rebuilt after any crash.

`metadata_dir/{client}.csv` holds one row a message. `metadata_dir/done/{client}`, an empty file, says that the client
is finished for good and that late duplicates of its messages are to be acknowledged and forgotten. The order is
always: row on disk, state in memory, result sent by the caller, `mark_client_ready` (marker, then removal of the
rows), acknowledgement by the caller. A kill between any two of them loses nothing; a kill between the sending and the
marker makes the caller send the result again, so a result needs an id that depends on nothing but the client.

It does not talk to a broker and does not send results. One process owns a metadata directory at a time. Markers are
kept for ever: they may be deleted, with the worker stopped, once the client id can never come again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeVar

from chaoskit.durable.client_rows import ClientRows
from chaoskit.durable.errors import (
    ConflictingMessageError,
    DurableError,
    InvalidMessageError,
    MustExitError,
    WriteFailedError,
)
from chaoskit.durable.files import Disk, StrPath, SystemCalls
from chaoskit.durable.names import is_safe_name, safe_name
from chaoskit.durable.row_format import Row, RowFormat, RowValues


class ClientState(Protocol):
    """What a worker keeps in memory for one client. Rebuilt from rows, so it depends on nothing else.

    `is_ready` is an attribute, a property or a method without arguments. `update_state` gets one row as a new
    `{column: text}`, the same texts live and at a rebuild, in the order in which they became durable.
    """

    @property
    def is_ready(self) -> bool | Callable[[], bool]: ...

    def update_state(self, row: dict[str, str], /) -> object: ...


class MessageRow(NamedTuple):
    """What `extract_metadata` returns (a plain tuple will do): whose message it is, and its row for the file.

    `row` is a mapping with every column or a sequence in column order, of str, int or float; the first column is the
    message id, unique within the client.
    """

    client_id: str
    row: RowValues


class Outcome(Enum):
    """What became of a message that is safe to go on with."""

    NEW = "new"
    """Durable now and part of the state. If the client is ready: send the result, mark it, then acknowledge."""
    DUPLICATE = "duplicate"
    """Durable before, not counted again. Go on exactly as with NEW: the result may not have been sent yet."""
    FINISHED = "finished"
    """A late duplicate of a client that `mark_client_ready` finished. Acknowledge it and do nothing else."""


class Rebuilt(NamedTuple):
    """What `rebuild_state` found."""

    rows: Mapping[str, int]
    """Unique rows of each client that is not finished."""
    ready: tuple[str, ...]
    """Clients that are complete but were not marked: send (perhaps again) the result of each, then mark it."""
    finished: frozenset[str]
    cut_bytes: Mapping[str, int]
    """Torn bytes that were cut from the end of a client's file."""


MessageT = TypeVar("MessageT")
StateT = TypeVar("StateT", bound=ClientState)


class _Client(NamedTuple, Generic[StateT]):
    rows: ClientRows
    state: StateT


class StatefulWorkerManager(Generic[MessageT, StateT]):
    """Durable state per client for a worker that gets each message at least once.

    build_status(client_id) returns a new, empty state. extract_metadata(message) returns a MessageRow (or a tuple
    like it) and raises ValueError or LookupError for a message that is no good. It has to refuse whatever update_state
    would refuse: a refusal by update_state is undone on disk as well, but costs a rebuild of the client.

    Methods may be called from several threads; they take turns. After MustExitError, or any exception that is not a
    DurableError, every later call raises MustExitError: only a new start knows what is on disk.
    """

    def __init__(
        self,
        metadata_dir: StrPath,
        build_status: Callable[[str], StateT],
        extract_metadata: Callable[[MessageT], MessageRow | tuple[str, RowValues]],
        csv_columns: Sequence[str],
        *,
        log: Callable[[str], None] | None = None,
        system: SystemCalls = os,
    ) -> None:
        """`log` gets one line of text an event (default: the logger of this module); `system` is for tests.

        Raises ValueError for bad columns. Touches no file.
        """
        self._directory = os.fspath(metadata_dir)
        self._done_directory = os.path.join(self._directory, "done")
        self._build_status = build_status
        self._extract_metadata = extract_metadata
        self._format = RowFormat(csv_columns)
        self._log = log or logging.getLogger(__name__).info
        self._disk = Disk(system)
        self._guard = _Guard()
        self._is_rebuilt = False
        self._clients: dict[str, _Client[StateT]] = {}
        self._finished: set[str] = set()

    # ---- recovery ----

    def rebuild_state(self) -> Rebuilt:
        """Read everything back from disk, finish what a crash left half done, and repair torn tails.

        Idempotent, also when it is killed itself. Never removes the rows of a client whose result may be unsent. Called
        by the first other method when the worker did not. Raises CorruptFileError and MustExitError.
        """
        with self._guard:
            return self._rebuild()

    def _rebuild(self) -> Rebuilt:
        self._log("Rebuilding state from metadata...")
        # One after the other: each also syncs the entry of a directory that an earlier life created and died.
        self._disk.ensure_directory(self._directory)
        self._disk.ensure_directory(self._done_directory)
        finished = set(filter(is_safe_name, os.listdir(self._done_directory)))
        self._disk.sync_directory(self._done_directory)
        clients: dict[str, _Client[StateT]] = {}
        cut_bytes: dict[str, int] = {}
        for client_id in self._clients_with_files():
            if client_id in finished:
                self._remove_rows(client_id)
                continue
            clients[client_id], cut = self._load(client_id)
            if cut:
                cut_bytes[client_id] = cut
        self._trust_entries(clients)
        self._clients, self._finished, self._is_rebuilt = clients, finished, True
        rows = {client_id: len(client.rows) for client_id, client in clients.items()}
        return Rebuilt(rows, self._ready(), frozenset(finished), cut_bytes)

    def _clients_with_files(self) -> list[str]:
        names = [name.removesuffix(".csv") for name in os.listdir(self._directory) if name.endswith(".csv")]
        for name in names:
            if not is_safe_name(name):
                self._log(f"Ignoring {self._directory}/{name}.csv: its name is no client id")
        return sorted(filter(is_safe_name, names))

    def _load(self, client_id: str) -> tuple[_Client[StateT], int]:
        client = self._new_client(client_id)
        cut_bytes = client.rows.rebuild(client.state.update_state)
        if cut_bytes:
            self._log(f"Repaired {client.rows.path}: cut {cut_bytes} torn bytes")
        self._log(f"Rebuilt state for client {client_id} ({len(client.rows)} unique rows)")
        return client, cut_bytes

    def _new_client(self, client_id: str) -> _Client[StateT]:
        rows = ClientRows(self._path(client_id), self._format, self._disk)
        return _Client(rows, self._build_status(client_id))

    def _path(self, client_id: str) -> str:
        return os.path.join(self._directory, client_id + ".csv")

    def _trust_entries(self, clients: Mapping[str, _Client[StateT]]) -> None:
        self._disk.sync_directory(self._directory)
        for client in clients.values():
            self._disk.entry_is_on_disk(client.rows.path)

    def _remove_rows(self, client_id: str) -> None:
        # The marker alone decides: rows that stay behind are removed by the next rebuild.
        try:
            self._disk.unlink(self._path(client_id))
        except WriteFailedError as error:
            self._log(f"Rows of finished client {client_id} stay for now: {error}")

    # ---- messages ----

    def process_message(self, message: MessageT) -> Outcome:
        """Make one message durable and part of its client's state, once; say what to do next.

        Raises InvalidMessageError (reject it; ConflictingMessageError when its id is known with another payload),
        WriteFailedError (try again later), MustExitError, and what rebuild_state raises.
        """
        client_id, row = self._parse(message)
        with self._guard:
            self._ensure_rebuilt()
            result = self._process_rows(client_id, [row])[0]
        if isinstance(result, DurableError):
            raise result
        return result

    def process_batch(self, messages: Iterable[MessageT]) -> list[Outcome | DurableError]:
        """Like process_message for many messages, with one fsync a client; one result a message, in order.

        A result that is an InvalidMessageError or a WriteFailedError concerns that message only. Raises MustExitError
        and what rebuild_state raises.
        """
        results: dict[int, Outcome | DurableError] = {}
        by_client: dict[str, list[tuple[int, Row]]] = {}
        for index, message in enumerate(messages):
            try:
                client_id, row = self._parse(message)
            except InvalidMessageError as error:
                results[index] = error
            else:
                by_client.setdefault(client_id, []).append((index, row))
        with self._guard:
            self._ensure_rebuilt()
            for client_id, numbered in by_client.items():
                outcomes = self._process_rows(client_id, [row for _, row in numbered])
                results.update(zip((index for index, _ in numbered), outcomes, strict=True))
        return [results[index] for index in range(len(results))]

    def _parse(self, message: MessageT) -> tuple[str, Row]:
        try:
            client_id, values = self._extract_metadata(message)
        except InvalidMessageError:
            raise
        except (ValueError, LookupError) as error:
            raise InvalidMessageError(f"the message is no good: {error}") from error
        return safe_name(client_id, "client id"), self._format.encode(values)

    def _process_rows(self, client_id: str, rows: list[Row]) -> list[Outcome | DurableError]:
        if client_id in self._finished:
            return [Outcome.FINISHED] * len(rows)
        client = self._clients.get(client_id) or self._new_client(client_id)
        fresh: dict[str, Row] = {}
        results = [_classify(client.rows, fresh, row) for row in rows]
        try:
            if fresh:
                self._take(client_id, client, list(fresh.values()))
        except WriteFailedError as error:
            return _with_failure(error, fresh, rows, results)
        except _RefusedError as error:
            if len(rows) == 1:
                return [InvalidMessageError(f"the message was refused by the client's state: {error}")]
            return [result for row in rows for result in self._process_rows(client_id, [row])]
        return results

    def _take(self, client_id: str, client: _Client[StateT], rows: list[Row]) -> None:
        offset = client.rows.append(rows)
        try:
            for row in rows:
                client.state.update_state(self._format.named(row.fields))
        except (ValueError, LookupError, ArithmeticError) as error:
            self._take_back(client_id, client, offset)
            raise _RefusedError(str(error)) from error
        self._clients[client_id] = client

    def _take_back(self, client_id: str, client: _Client[StateT], offset: int) -> None:
        # The state may have been changed half way, so it is built again from what is on disk.
        client.rows.take_back(offset)
        self._clients[client_id], _ = self._load(client_id)

    # ---- clients ----

    def get_client_state(self, client_id: str) -> StateT | None:
        """Return the state of a client that has rows and is not finished, else None. Do not change it."""
        with self._guard:
            self._ensure_rebuilt()
            client = self._clients.get(client_id)
            return client.state if client else None

    def ready_clients(self) -> tuple[str, ...]:
        """Return the clients that are ready and not marked: the result of each is still to be sent."""
        with self._guard:
            self._ensure_rebuilt()
            return self._ready()

    def _ready(self) -> tuple[str, ...]:
        return tuple(client_id for client_id, client in self._clients.items() if _is_ready(client.state))

    def is_finished(self, client_id: str) -> bool:
        """Tell whether `mark_client_ready` finished this client, in this life or an earlier one."""
        with self._guard:
            self._ensure_rebuilt()
            return client_id in self._finished

    def mark_client_ready(self, client_id: str) -> None:
        """Finish a client for good: call it after its result was confirmed, before the acknowledgement.

        Durable on return. Removes the rows and the state; later messages of the client are Outcome.FINISHED. Doing it
        twice is fine. Raises UnsafeNameError, WriteFailedError (nothing changed: try again) and MustExitError.
        """
        safe_name(client_id, "client id")
        with self._guard:
            self._ensure_rebuilt()
            if client_id not in self._finished:
                self._disk.create_marker(os.path.join(self._done_directory, client_id))
                self._finished.add(client_id)
            self._remove_rows(client_id)
            self._clients.pop(client_id, None)

    def _ensure_rebuilt(self) -> None:
        if not self._is_rebuilt:
            self._rebuild()


class _Guard:
    """One caller at a time, and none after an error that leaves disk and memory different.

    A class and not a generator: entering it is on the way of every message.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_broken = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._is_broken:
            self._lock.release()
            raise MustExitError("an earlier error left the disk in an unknown state; exit and start again")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None and not issubclass(kind, InvalidMessageError | WriteFailedError):
            self._is_broken = True
        self._lock.release()


class _RefusedError(Exception):
    """update_state refused a row; it is off the disk again."""


def _is_ready(state: ClientState) -> bool:
    ready = state.is_ready
    return bool(ready() if callable(ready) else ready)


def _classify(known: ClientRows, fresh: dict[str, Row], row: Row) -> Outcome | DurableError:
    """Sort a row into known, known from this very batch, and fresh; adds it to `fresh` in the last case."""
    try:
        if known.holds(row):
            return Outcome.DUPLICATE
    except InvalidMessageError as error:
        return error
    first = fresh.setdefault(row.message_id, row)
    if first is row:
        return Outcome.NEW
    if first.line != row.line:
        return ConflictingMessageError(f"message id {row.message_id} is known with another payload")
    return Outcome.DUPLICATE


def _with_failure(
    error: WriteFailedError, fresh: Mapping[str, Row], rows: list[Row], results: list[Outcome | DurableError]
) -> list[Outcome | DurableError]:
    """Put `error` in the place of each result that depended on the failed write.

    That includes a conflict within the batch: what it was in conflict with is not on disk.
    """
    return [error if row.message_id in fresh else result for row, result in zip(rows, results, strict=True)]
