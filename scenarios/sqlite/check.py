"""Judges ledger.db: whole, with the three entries, and after a crash no commit gone that was reported before.

MAY_LOSE says how many of the last commits a power loss may take back. With synchronous=FULL that is one: SQLite does
not wait until the removal of its journal is durable (https://www.sqlite.org/pragma.html#pragma_synchronous), and a
journal that is back undoes its commit. With EXTRA it is none.
"""

import os
import re
import sqlite3
import sys
from pathlib import Path

EXPECTED = [(1, 100), (2, 200), (3, 300)]


def entries(path: Path) -> list[tuple[int, int]]:
    try:
        database = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
        (state,) = database.execute("PRAGMA integrity_check").fetchone()
        found = database.execute("SELECT number, amount FROM entry ORDER BY number").fetchall()
        database.close()
    except sqlite3.Error as e:
        sys.exit(f"ledger.db cannot be read: {e}")
    if state != "ok":
        sys.exit(f"ledger.db is damaged: {' '.join(state.split())}")
    return found


def lost(log: Path, may_lose: int) -> str:
    """What was reported as committed and was gone after a restart; empty when that is nothing."""
    committed = 0
    for line in log.read_text(errors="replace").splitlines():
        if told := re.fullmatch(r"committed (\d+)", line):
            committed = int(told[1])
        found = re.fullmatch(r"found (\d+)", line)
        if found and int(found[1]) < committed - may_lose:
            return f"committed: {committed}, found after a restart: {found[1]}"
    return ""


def main() -> None:
    found = entries(Path(os.environ["WORKER_DATA_DIR"], "ledger.db"))
    if found != EXPECTED:
        sys.exit(f"the ledger has {found}, expected {EXPECTED}")
    if problem := lost(Path(os.environ["CHAOSKIT_LOGS"], "ledger.log"), int(os.environ["MAY_LOSE"])):
        sys.exit(problem)
    print(f"{len(found)} entries, none lost that was promised")


if __name__ == "__main__":
    main()
