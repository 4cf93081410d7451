"""Adds NOTES notes to notes.json, one after the other, and goes on where it was when it is started again.

The file is replaced, never written over: the new text goes to a file beside it and is made durable, then takes the
name of the old one in one step, then the directory is made durable. At any moment the name leads to a whole file.
"""

import json
import os
from pathlib import Path

FILE = Path(os.environ["WORKER_DATA_DIR"], "notes.json")


def load() -> list[str]:
    return json.loads(FILE.read_text()) if FILE.exists() else []


def save(notes: list[str]) -> None:
    fresh = FILE.with_suffix(".new")
    with fresh.open("w") as file:
        json.dump(notes, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(FILE)
    directory = os.open(FILE.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def main() -> None:
    notes = load()
    print(f"found {len(notes)} notes")
    while len(notes) < int(os.environ["NOTES"]):
        notes.append(f"note {len(notes) + 1}")
        save(notes)
        print(f"saved {len(notes)} notes")


if __name__ == "__main__":
    main()
