"""PartitionManager beside the cheapest thing that could do its job, in one run.

    python benchmarks/durable_partition.py [--directory DIR] [--chunks N] [--largest-mb N] [--json]

- chunks a second, for several numbers of partitions: write_chunk + mark_processed beside a bare loop that appends the
  same bytes to the same files (partition files and both lists of chunk ids), which stay open, with an fsync after
  each append. The two take turns, so that a noisy disk hits both alike. What the manager adds is one more fsync, for
  the intent, and the work of checking and encoding rows.
- the start after a kill in the middle of a chunk, for partition files of growing size: it reads the ends of the files
  and cuts the torn rows off, so its time must not grow with them.

Exit code 1 when a target of the table is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaoskit.durable.partition import PartitionManager
from chaoskit.durable.partition_rows import group_rows, header_bytes

CLIENT = "TEST"
COLUMNS = ("user_id", "name")
ROWS = 15
SLICE = 50
PARTITIONS = (1, 5, 10, 50)
PARTITIONS_OF_TARGET = 5
LEAST_SPEED = 0.6
STARTS = 15
# What may be noise of the clock and the disk between two sizes; reading the files would take 100 times as long.
LARGEST_GROWTH = 2.0
Chunk = tuple[str, list[tuple[str, str]]]


class Line(NamedTuple):
    """One line of the table; `is_met` compares `value` with the target."""

    what: str
    value: float
    unit: str
    target: str
    is_met: bool


def chunks(count: int) -> list[Chunk]:
    return [
        (f"{CLIENT}{number:08d}", [(str(7919 * number + 31 * row), f"User {row}, {number}") for row in range(ROWS)])
        for number in range(count)
    ]


def ours(directory: Path, num_partitions: int) -> Callable[[Chunk], None]:
    manager = PartitionManager(directory, num_partitions)
    manager.recover()

    def take(chunk: Chunk) -> None:
        manager.write_chunk(CLIENT, *chunk)
        manager.mark_processed(chunk[0])

    return take


def bare_loop(directory: Path, num_partitions: int, todo: list[Chunk]) -> Callable[[Chunk], None]:
    """Return a loop over bytes that were made beforehand: one write and one fsync a file."""
    directory.mkdir()
    fds: dict[object, int] = {}
    appends: dict[str, list[tuple[int, bytes]]] = {}

    def fd(name: object) -> int:
        if name not in fds:
            fds[name] = os.open(directory / str(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return fds[name]

    for chunk_id, rows in todo:
        groups = group_rows(rows, COLUMNS, 0, num_partitions)
        pairs = "".join(f"{partition}:{chunk_id}\n" for partition in groups).encode()
        files = [(fd(partition), data) for partition, data in groups.items()]
        appends[chunk_id] = [*files, (fd("written"), pairs), (fd("processed"), f"{chunk_id}\n".encode())]
    for partition in range(num_partitions):
        os.write(fd(partition), header_bytes(COLUMNS))

    def take(chunk: Chunk) -> None:
        for file, data in appends[chunk[0]]:
            os.write(file, data)
            os.fsync(file)

    return take


def chunk_speed(directory: Path, num_partitions: int, count: int) -> list[Line]:
    todo = chunks(count)
    ways = {
        "bare": bare_loop(directory / f"bare-{num_partitions}", num_partitions, todo),
        "ours": ours(directory / f"ours-{num_partitions}", num_partitions),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, count, SLICE):
        for name, take in ways.items():
            part = todo[start : start + SLICE]
            spent[name].append(timed(lambda take=take, part=part: [take(chunk) for chunk in part]) / len(part))
    bare_s, ours_s = statistics.median(spent["bare"]), statistics.median(spent["ours"])
    is_target = num_partitions == PARTITIONS_OF_TARGET
    ratio = bare_s / ours_s
    target = f">= {LEAST_SPEED}" if is_target else ""
    return [
        Line(f"bare appends + fsyncs, {num_partitions} partitions", 1 / bare_s, "chunks/s", "", True),
        Line("PartitionManager", 1 / ours_s, "chunks/s", "", True),
        Line("  speed beside the bare loop", ratio, "x", target, not is_target or ratio >= LEAST_SPEED),
    ]


def starts(directory: Path, largest_mb: int) -> list[Line]:
    sizes_mb = sorted({1, max(1, largest_mb // 10), largest_mb})
    homes = {directory / f"start-{size}-mb": size for size in sizes_mb}
    files = {home: partition_files(home, size) for home, size in homes.items()}
    rounds = [[one_start_s(home, files[home]) for home in homes] for _ in range(STARTS)]
    times = [statistics.median(column) for column in zip(*rounds, strict=True)]
    growth = times[-1] / times[0]
    return [
        *(
            Line(f"start after a kill, 5 files of {size} MB", 1e3 * time_s, "ms", "", True)
            for size, time_s in zip(sizes_mb, times, strict=True)
        ),
        Line("  largest beside smallest", growth, "x", f"<= {LARGEST_GROWTH:g}", growth <= LARGEST_GROWTH),
    ]


def partition_files(directory: Path, size_mb: int) -> list[Path]:
    """Make partition files of that size."""
    manager = PartitionManager(directory, PARTITIONS_OF_TARGET)
    manager.recover()
    paths = [Path(manager.partition_path(CLIENT, partition)) for partition in range(PARTITIONS_OF_TARGET)]
    block = b"".join(f"{number},User {number}\n".encode() for number in range(60_000))[: 1 << 20].rpartition(b"\n")[0]
    for path in paths:
        with path.open("wb") as file:
            file.write(header_bytes(COLUMNS))
            for _ in range(size_mb):
                file.write(block + b"\n")
            file.flush()
            os.fsync(file.fileno())
    return paths


def one_start_s(directory: Path, paths: list[Path]) -> float:
    """Return the seconds of a `recover` that undoes a chunk in all of the files."""
    base = {str(partition): path.stat().st_size for partition, path in enumerate(paths)}
    intent = {"chunk": "torn", "client": CLIENT, "base": base}
    (directory / "state" / "intent").write_text(json.dumps(intent) + "\n")
    for path in paths:
        with path.open("ab") as file:
            file.write(b'123,"torn\nrow')
    began = time.perf_counter()
    recovery = PartitionManager(directory, PARTITIONS_OF_TARGET).recover()
    spent_s = time.perf_counter() - began
    if len(recovery.undone) != len(paths):
        raise RuntimeError(f"the start repaired {len(recovery.undone)} of {len(paths)} files")
    return spent_s


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--directory", type=Path, help="where to write; a real disk, or fsync costs nothing")
    parser.add_argument("--chunks", type=int, default=10 * SLICE)
    parser.add_argument("--largest-mb", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        lines = [line for count in PARTITIONS for line in chunk_speed(Path(name), count, options.chunks)]
        lines += starts(Path(name), options.largest_mb)
    show(lines, options.json)
    return 0 if all(line.is_met for line in lines) else 1


def show(lines: list[Line], as_json: bool) -> None:
    if as_json:
        print(json.dumps([line._asdict() for line in lines], indent=1))
        return
    for line in lines:
        verdict = f"target {line.target}: {'met' if line.is_met else 'MISSED'}" if line.target else ""
        print(f"{line.what:<52}{line.value:>10.2f} {line.unit:<14}{verdict}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
