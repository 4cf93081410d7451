"""Adds NOTES notes to notes.json, one after the other, and goes on where it was when it is started again.

It saves the way most programs do at first: it opens the file for writing, which empties it, and writes the new text.
Whoever stops it in between leaves a file that nobody can read, itself included. ../json-file-atomic has the cure.
"""

import json
import os
from pathlib import Path

FILE = Path(os.environ["WORKER_DATA_DIR"], "notes.json")


def load() -> list[str]:
    return json.loads(FILE.read_text()) if FILE.exists() else []


def save(notes: list[str]) -> None:
    with FILE.open("w") as file:
        json.dump(notes, file)


def main() -> None:
    notes = load()
    print(f"found {len(notes)} notes")
    while len(notes) < int(os.environ["NOTES"]):
        notes.append(f"note {len(notes) + 1}")
        save(notes)
        print(f"saved {len(notes)} notes")


if __name__ == "__main__":
    main()
