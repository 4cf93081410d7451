"""Judges notes.json: it has to be JSON, hold every note once, and none that was reported as saved may be gone.

The exit code is the verdict; what it prints last is the reason. It reads what the program printed, which is what the
world outside took for done.
"""

import json
import os
import re
import sys
from pathlib import Path


def found(file: Path) -> list[str]:
    try:
        notes = json.loads(file.read_text())
    except FileNotFoundError:
        sys.exit("notes.json is gone")
    except ValueError as e:
        sys.exit(f"notes.json cannot be read: {e}")
    return list(notes)


def lost(log: Path) -> str:
    """What the program had reported as saved, and had not any more after a restart; empty when nothing was lost."""
    most = 0
    for line in log.read_text().splitlines():
        if started := re.match(r"found (\d+) notes", line):
            if int(started[1]) < most:
                return f"notes reported as saved: {most}, found after a restart: {started[1]}"
        elif saved := re.match(r"saved (\d+) notes", line):
            most = int(saved[1])
    return ""


def main() -> None:
    notes = found(Path(os.environ["WORKER_DATA_DIR"], "notes.json"))
    expected = [f"note {n + 1}" for n in range(int(os.environ["NOTES"]))]
    if notes != expected:
        sys.exit(f"expected {len(expected)} notes, notes.json has {len(notes)}: {notes}")
    if problem := lost(Path(os.environ["CHAOSKIT_LOGS"], "notes.log")):
        sys.exit(problem)
    print(f"{len(notes)} notes, none lost")


if __name__ == "__main__":
    main()
