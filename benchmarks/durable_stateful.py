"""StatefulWorkerManager beside the cheapest thing that could do its job, in one run.

    python benchmarks/durable_stateful.py [--directory DIR] [--messages N] [--rows N] [--json]

- one message at a time: beside a bare loop of write + fsync of the same bytes to open files, and beside SQLite (WAL,
  synchronous=FULL, a commit a message, the same state in memory). The three take turns, so that a noisy disk hits all
  of them alike. Where the file system commits a new file length with each fsync of a growing file (ext4), SQLite, which
  overwrites its log in place, is faster than the bare loop, and then nothing that appends can reach it.
- batches of 100, beside one message at a time.
- rebuild of a file of a million rows: beside a bare csv.reader pass over it, and the memory above a bare interpreter,
  each in a process of its own; once with ids that count up and once with the same rows shuffled.

Exit code 1 when a target of the table is missed. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaoskit.durable.stateful import StatefulWorkerManager

COLUMNS = ("msg_id", "chunk_number", "value")
HEADER = ",".join(COLUMNS) + "\n"
CLIENTS = ("CLI1", "CLI2")
# Long enough that every slice has a checkpoint of SQLite's log in it, which is part of its price.
SLICE = 400
BATCH = 100
Message = tuple[str, tuple[str, int, int]]


class Line(NamedTuple):
    """One line of the table; `is_met` compares `value` with the target."""

    what: str
    value: float
    unit: str
    target: str
    is_met: bool


class Sum:
    """The state of the benchmark: the one of the stateful scenario without its log."""

    is_ready = False

    def __init__(self, _client_id: str) -> None:
        self.rows = 0
        self.total = 0

    def update_state(self, row: dict[str, str]) -> None:
        self.total += int(row["value"])
        self.rows += 1


def messages(count: int) -> list[Message]:
    """Return messages of all clients in turn."""
    numbered = [(CLIENTS[index % len(CLIENTS)], index // len(CLIENTS) + 1) for index in range(count)]
    return [(client, (f"{client}{number:08d}", number, 10 * number)) for client, number in numbered]


def manager(directory: Path) -> StatefulWorkerManager[Message, Sum]:
    made: StatefulWorkerManager[Message, Sum] = StatefulWorkerManager(
        directory / "metadata", Sum, lambda message: message, COLUMNS, log=lambda _line: None
    )
    made.rebuild_state()
    return made


def bare_loop(directory: Path) -> Callable[[Message], None]:
    """Return the fair minimum: the same bytes with one write and one fsync to a file that stays open."""
    fds = {client: os.open(directory / f"{client}.bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for client in CLIENTS}
    for fd in fds.values():
        os.write(fd, HEADER.encode())

    def append(message: Message) -> None:
        client, (message_id, number, value) = message
        os.write(fds[client], f"{message_id},{number},{value}\n".encode())
        os.fsync(fds[client])

    return append


def sqlite_table(directory: Path) -> Callable[[Message], None]:
    connection = sqlite3.connect(directory / "rows.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (msg_id TEXT PRIMARY KEY, client TEXT, number INTEGER, value INTEGER)")

    states = {client: Sum(client) for client in CLIENTS}

    def insert(message: Message) -> None:
        client, (message_id, number, value) = message
        row = (message_id, client, number, value)
        if connection.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?)", row).rowcount:
            states[client].update_state(dict(zip(COLUMNS, map(str, (message_id, number, value)), strict=True)))

    return insert


def in_turns(ways: dict[str, Callable[[Message], object]], todo: list[Message]) -> dict[str, float]:
    """Return seconds a message for each way: the median over slices that the ways take in turn."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, len(todo), SLICE):
        for name, take in ways.items():
            began = time.perf_counter()
            for message in todo[start : start + SLICE]:
                take(message)
            spent[name].append((time.perf_counter() - began) / SLICE)
    return {name: statistics.median(times) for name, times in spent.items()}


def one_at_a_time(directory: Path, count: int) -> tuple[list[Line], float]:
    todo = messages(count)
    ways: dict[str, Callable[[Message], object]] = {
        "bare": bare_loop(directory),
        "ours": manager(directory / "single").process_message,
        "sqlite": sqlite_table(directory),
    }
    seconds = in_turns(ways, todo)
    of_bare = seconds["bare"] / seconds["ours"]
    of_sqlite = seconds["sqlite"] / seconds["ours"]
    lines = [
        Line("bare append + fsync", 1e6 * seconds["bare"], "us a message", "", True),
        Line("SQLite, WAL, FULL, a commit each", 1e6 * seconds["sqlite"], "us a message", "", True),
        Line("process_message", 1e6 * seconds["ours"], "us a message", "", True),
        Line("  speed beside the bare loop", of_bare, "x", ">= 0.7", of_bare >= 0.7),
        Line("  speed beside SQLite", of_sqlite, "x", "> 1", of_sqlite > 1),
    ]
    return lines, seconds["ours"]


def batches(directory: Path, count: int, single_s: float) -> list[Line]:
    todo = messages(count)
    ours = manager(directory / "batch")
    spent = []
    for start in range(0, count, BATCH):
        began = time.perf_counter()
        ours.process_batch(todo[start : start + BATCH])
        spent.append((time.perf_counter() - began) / BATCH)
    batch_s = statistics.median(spent)
    return [
        Line(f"process_batch of {BATCH}", 1e6 * batch_s, "us a message", "", True),
        Line("  speed beside one at a time", single_s / batch_s, "x", ">= 10", single_s / batch_s >= 10),
    ]


def write_rows(path: Path, numbers: list[int]) -> None:
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        file.write(HEADER)
        file.writelines(f"CLI1{number:08d},{number},{10 * number}\n" for number in numbers)


def rebuilds(directory: Path, count: int) -> Iterator[Line]:
    ordered = list(range(1, count + 1))
    shuffled = random.Random(1).sample(ordered, count)
    for name, numbers, is_target in (("ids that count up", ordered, True), ("ids shuffled", shuffled, False)):
        home = directory / name.replace(" ", "-")
        write_rows(home / "metadata" / "CLI1.csv", numbers)
        results = [in_own_process(home) for _ in range(3)]
        bare_s, ours_s = (min(result[key] for result in results) for key in ("bare_s", "ours_s"))
        ratio = ours_s / bare_s
        above = max(result["above_mb"] for result in results)
        yield Line(f"csv.reader pass, {count} rows, {name}", bare_s, "s", "", True)
        yield Line("rebuild_state", ours_s, "s", "", True)
        yield Line("  time beside the pass", ratio, "x", "<= 2" if is_target else "", not is_target or ratio <= 2)
        yield Line("  memory above the interpreter", above, "MB", "<= 160", above <= 160)


def in_own_process(home: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure-rebuild", str(home)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure_rebuild(home: Path) -> None:
    """In a process of its own: a rebuild and a bare pass, in turns; prints seconds and megabytes as JSON."""
    ours_s = timed(lambda: manager(home))
    above_kb = peak_kb() - interpreter_kb()
    bare_s = timed(lambda: bare_pass(home / "metadata" / "CLI1.csv"))
    for _ in range(2):
        ours_s = min(ours_s, timed(lambda: manager(home)))
        bare_s = min(bare_s, timed(lambda: bare_pass(home / "metadata" / "CLI1.csv")))
    print(json.dumps({"ours_s": ours_s, "bare_s": bare_s, "above_mb": above_kb / 1024}))


def interpreter_kb() -> int:
    """Return the peak memory of an interpreter that does nothing."""
    code = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def bare_pass(path: Path) -> None:
    with path.open(newline="") as file:
        for _row in csv.reader(file):
            pass


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_kb() -> int:
    """Return the peak memory of this process. Not ru_maxrss, which a child inherits from its parent."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--directory", type=Path, help="where to write; a real disk, or fsync costs nothing")
    parser.add_argument("--messages", type=int, default=10 * SLICE)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure-rebuild", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_rebuild:
        measure_rebuild(options.measure_rebuild)
        return 0
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        lines, single_s = one_at_a_time(Path(name), options.messages)
        lines += batches(Path(name), max(options.messages, 10 * BATCH), single_s)
        lines += rebuilds(Path(name), options.rows)
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
