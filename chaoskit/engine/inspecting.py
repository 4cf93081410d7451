"""Finds and reads the files that workers keep: of the pipeline that is up, of the latest run, or of a given one.

Ids come from the command line and files from programs under test: no id leaves its directory, no link is followed.
Parsing is the business of `inspecting_rows` and `inspecting_partitions`. It changes nothing.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from chaoskit.durable.errors import UnsafeNameError
from chaoskit.durable.names import is_safe_name, safe_name
from chaoskit.engine import control, rundir, upfile
from chaoskit.engine import inspecting_partitions as partitions
from chaoskit.engine.inspecting_partitions import ChunkLines, IntentFile, Layout, PartitionRows
from chaoskit.engine.inspecting_rows import MetadataRows, parse_metadata
from chaoskit.engine.rundir import RunDir
from chaoskit.model.errors import UsageError

_SUFFIX = ".csv"
_PARTITION = re.compile(
    r"(?P<client>[A-Za-z0-9_-]{1,64})-(?P<prefix>[A-Za-z0-9_]{1,64})-partition-(?P<number>[0-9]{3,6})"
)
_LARGEST_BYTES = 1 << 30
_FETCH_S = 60.0


class Place(msgspec.Struct, frozen=True):
    """Whose files are looked at. `state`: a pipeline that is up, the latest run, or the run that was named."""

    run_dir: RunDir
    state: Literal["up", "latest", "named"]

    @property
    def data(self) -> Path:
        """The directory that holds one data directory a program. Raises UsageError when the run kept none."""
        for run_dir in (self.run_dir, self.run_dir.control):
            if (run_dir.path / "data").is_dir():
                return run_dir.path / "data"
        raise UsageError(f"{self.run_dir} has no data: no program was started, or the run did not --keep it")

    def __str__(self) -> str:
        return f"{self.run_dir}{' (up)' if self.state == 'up' else ''}"


def place(run: Path | None) -> Place:
    """The run directory `run`, else the pipeline that is up here, else the latest run. Raises UsageError."""
    if run is not None:
        return Place(rundir.existing(run), "named")
    current = upfile.current()
    if current is not None:
        # Containers keep their data on volumes; whoever has the pipeline up copies them.
        control.ask(current.socket, control.Data(), _FETCH_S)
        return Place(current.run_dir, "up")
    return Place(rundir.latest(), "latest")


def _directories(where: Place, name: str) -> list[Path]:
    """The directories `name` in the data directories of programs, links left out."""
    below = [path / name for path in sorted(where.data.iterdir()) if _is_directory(path)]
    return [path for path in below if _is_directory(path)]


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat(follow_symlinks=False).st_mode)
    except OSError:
        return False


def _read(path: Path) -> bytes | None:
    """The content of a plain file; None when there is none. Raises UsageError when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_BYTES:
            raise UsageError(f"{path}: not a plain file of at most 1 GiB")
        return file.read()


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


# --- metadata ---


class Client(msgspec.Struct, frozen=True):
    """One client in one metadata directory (`path`). `rows` is None when its file is gone, as it is once finished."""

    client: str
    path: str
    finished: bool
    rows: MetadataRows | None


def check_metadata(where: Place, columns: Sequence[str]) -> list[Client]:
    """Every client of every metadata directory. Raises UsageError when there is no such directory."""
    return [
        _client(directory, client, columns)
        for directory in _metadata_directories(where)
        for client in _clients(directory)
    ]


def inspect_metadata(where: Place, client: str, columns: Sequence[str]) -> list[Client]:
    """The client in each metadata directory that knows it. Raises UsageError when none does, or for an unsafe id."""
    directories = _metadata_directories(where)
    safe = _safe(client, "client id")
    found = [_client(directory, safe, columns) for directory in directories if safe in _clients(directory)]
    if not found:
        known = sorted({name for directory in directories for name in _clients(directory)})
        raise UsageError(f"there is no client {safe} in {where}: {_some(known)}")
    return found


def _safe(name: str, what: str) -> str:
    try:
        return safe_name(name, what)
    except UnsafeNameError as e:
        raise UsageError(str(e)) from None


def _some(known: Sequence[str]) -> str:
    if not known:
        return "it has none yet"
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"it has {', '.join(known[:20])}{more}"


def _metadata_directories(where: Place) -> list[Path]:
    found = _directories(where, "metadata")
    if not found:
        raise UsageError(f"no program of {where} keeps metadata (there is no {where.data}/PROGRAM/metadata)")
    return found


def _clients(directory: Path) -> list[str]:
    files = {name.removesuffix(_SUFFIX) for name in _names(directory) if name.endswith(_SUFFIX)}
    return sorted(name for name in files | set(_names(directory / "done")) if is_safe_name(name))


def _client(directory: Path, client: str, columns: Sequence[str]) -> Client:
    # The marker is looked at last: a client that is finished meanwhile loses its file only after it has its marker.
    path = directory / f"{client}{_SUFFIX}"
    data = _read(path)
    finished = (directory / "done" / client).is_file()
    try:
        rows = None if data is None else parse_metadata(data, columns)
    except ValueError as e:
        raise UsageError(f"--columns: {e}") from None
    return Client(client, _shown_path(path), finished, rows)


def _shown_path(path: Path) -> str:
    return str(RunDir(path))


# --- partitions ---


class Partition(msgspec.Struct, frozen=True):
    """One partition file of one client."""

    client: str
    number: int
    path: str
    rows: PartitionRows


def inspect_partitions(where: Place, number: int | None, client: str | None) -> list[Partition]:
    """The partition files, those of `number` and `client` where given. Raises UsageError when there is none."""
    wanted = None if client is None else _safe(client, "client id")
    found = [p for directory in _directories(where, "partitions") for p in _partitions(directory, number, wanted)]
    if not found:
        which = f"{f' {number}' if number is not None else ''}{f' of client {wanted}' if wanted else ''}"
        raise UsageError(f"there is no partition file{which} in {where}")
    return found


def _partitions(directory: Path, number: int | None, client: str | None) -> list[Partition]:
    layout = _layout(directory.parent / "state")
    found = []
    for name in _names(directory):
        match = _PARTITION.fullmatch(name.removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None
        if match is None or client not in (None, match["client"]) or number not in (None, int(match["number"])):
            continue
        data = _read(directory / name)
        if data is not None:
            rows = partitions.parse_partition(data, int(match["number"]), layout)
            found.append(Partition(match["client"], int(match["number"]), _shown_path(directory / name), rows))
    return found


def _layout(state: Path) -> Layout:
    data = _read(state / "layout.json")
    return (partitions.parse_layout(data) if data else None) or Layout()


class ChunkState(msgspec.Struct, frozen=True):
    """The state files of one data directory. `pending`: the intent's chunk is not processed, so a start looks at it."""

    path: str
    processed: ChunkLines
    written: ChunkLines
    intent: IntentFile
    pending: bool


def inspect_state(where: Place) -> list[ChunkState]:
    """The state files of every partition writer. Raises UsageError when there is none."""
    found = [_state(directory) for directory in _directories(where, "state")]
    if not found:
        raise UsageError(f"no program of {where} keeps state files (there is no {where.data}/PROGRAM/state)")
    return found


def _state(directory: Path) -> ChunkState:
    intent = partitions.parse_intent(_read(directory / "intent") or b"")
    processed = partitions.parse_processed(_read(directory / "processed-chunks.txt") or b"")
    written = partitions.parse_written(_read(directory / "written-partition-chunks.txt") or b"")
    done = {row.fields[0] for row in processed.lines if row.fields}
    pending = intent.intent is not None and intent.intent.chunk_id not in done
    return ChunkState(_shown_path(directory), processed, written, intent, pending)
