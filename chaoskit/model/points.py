"""Crash points: the places where a kill can fall, and their names.

`worker-2/0/write:metadata/CLI1.csv#2@7` is program, life (0 before the first restart), operation, path relative to
the data directory, the how-many-th call of that operation on that path in that life, and the byte.
"""

import msgspec


class Point(msgspec.Struct, frozen=True):
    """A call that changed something: where a kill can fall before, after and (for a write) inside."""

    program: str
    life: int
    op: str
    path: str
    nth: int
    size: int = 0

    def __str__(self) -> str:
        return f"{self.program}/{self.life}/{self.op}:{self.path}#{self.nth}"
