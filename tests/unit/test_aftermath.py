"""What became of a file that a fault fell on: after its first change in a later life, and at the end of the run."""

import os
from pathlib import Path

import pytest

from chaoskit.agent.revisits import SHOWN_BYTES, read_below
from chaoskit.engine.aftermath import Aftermath
from chaoskit.model.events import AnyEvent, FaultFired, FileLater, decode, encode


class Watched:
    """A directory with an aftermath, and what it told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[AnyEvent] = []
        self.aftermath = Aftermath(
            lambda program, path, offset: read_below(root, path, offset), self.told.append, lambda: 1.5
        )

    def fault(self, path: str = "a.csv", life: int = 0) -> None:
        data = (self.root / path).read_bytes()
        point = f"w/{life}/write:{path}#2@3"
        self.aftermath.fired(FaultFired(1.0, 0, point, 3, len(data), data[-256:]))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    (tmp_path / "a.csv").write_bytes(b"whole row\ntor")
    made = Watched(tmp_path)
    made.fault()
    return made


def test_the_repair_and_the_end_are_told(watched: Watched) -> None:
    (watched.root / "a.csv").write_bytes(b"whole row\n")
    watched.aftermath.changed("w", 1, "a.csv")
    (watched.root / "a.csv").write_bytes(b"whole row\nwhole row\n")
    watched.aftermath.changed("w", 1, "a.csv")
    watched.aftermath.end()
    assert watched.told == [
        FileLater(1.5, 0, 0, 10, b"whole row\n"),
        FileLater(1.5, 0, 0, 20, b"whole row\nwhole row\n", True),
    ]
    assert [decode(encode(event)) for event in watched.told] == watched.told


def test_changes_of_the_same_life_or_of_other_files_tell_nothing(watched: Watched) -> None:
    watched.aftermath.changed("w", 0, "a.csv")
    watched.aftermath.changed("other", 1, "a.csv")
    watched.aftermath.changed("w", 1, "b.csv")
    assert watched.told == []


def test_a_file_that_is_gone_is_told_as_gone(watched: Watched) -> None:
    (watched.root / "a.csv").unlink()
    watched.aftermath.changed("w", 1, "a.csv")
    watched.aftermath.end()
    assert watched.told == [FileLater(1.5, 0, 0), FileLater(1.5, 0, 0, ended=True)]


def test_of_a_long_file_the_part_that_the_fault_showed_is_kept(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 5000)
    watched = Watched(tmp_path)
    watched.fault("long")
    (tmp_path / "long").write_bytes(b"x" * 4990 + b"y" * 4000)
    watched.aftermath.changed("w", 1, "long")
    assert watched.told == [FileLater(1.5, 0, 5000 - 256, 8990, (b"x" * 246 + b"y" * 4000)[:SHOWN_BYTES])]


def test_a_fault_at_no_file_is_not_watched(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.aftermath.fired(FaultFired(1.0, 0, "w/0/send:broker#3", 5))
    watched.aftermath.end()
    assert watched.told == []


def test_what_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    for name in ("pipe", "outside", "missing", "."):
        assert read_below(tmp_path, name, 0) is None
