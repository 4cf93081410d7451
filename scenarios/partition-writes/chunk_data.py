"""The chunks of a run, made from its seed: what the test runner sends and what the verifier expects.

Chunk n depends on the seed and on n only, so a run with more chunks begins with the chunks of a shorter one. Names hold
commas, quotes, line breaks and letters beyond ASCII, and some rows stand in several chunks: all of that is legal.
"""

from __future__ import annotations

import csv
import io
import json
import random
from typing import NamedTuple

COLUMNS = ("user_id", "name")

_FIRST_NAMES = ("Ana", "Bruno", "Chloé", "Dmitri", "Eun-ji", "Fátima", "Gül", "Hiroshi", "Ingrid", "João", "李", "Zoë")
_LAST_NAMES = ("Alvarez", "Brown, Jr.", 'O"Hara', "da Silva", "two\nlines", 'three,\r\n"lines"\n', "Smith", "Øst", "")
_ROWS = (10, 20)
_LARGEST_USER_ID = 10**6
_REGULARS = 8
_REGULAR_SHARE = 0.1

Row = tuple[str, str]


class Chunk(NamedTuple):
    """One message: `rows` without the header line."""

    id: str
    rows: tuple[Row, ...]

    def body(self, client_id: str) -> bytes:
        """The message: a JSON object whose `data` is CSV text with a header line."""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *self.rows])
        return json.dumps({"client_id": client_id, "chunk_id": self.id, "data": text.getvalue()}).encode()


def chunks(client_id: str, count: int, seed: int) -> list[Chunk]:
    """Chunks 1 to `count` of the run with `seed`; their ids are the client id and 8 digits."""
    regulars = _rows(random.Random(f"{seed}/regulars"), _REGULARS)
    return [Chunk(f"{client_id}{number:08d}", _chunk_rows(seed, number, regulars)) for number in range(1, count + 1)]


def _chunk_rows(seed: int, number: int, regulars: list[Row]) -> tuple[Row, ...]:
    source = random.Random(f"{seed}/chunk/{number}")
    rows = _rows(source, source.randint(*_ROWS))
    return tuple(source.choice(regulars) if source.random() < _REGULAR_SHARE else row for row in rows)


def _rows(source: random.Random, count: int) -> list[Row]:
    return [(str(source.randint(0, _LARGEST_USER_ID)), _name(source)) for _ in range(count)]


def _name(source: random.Random) -> str:
    return f"{source.choice(_FIRST_NAMES)} {source.choice(_LAST_NAMES)}"
