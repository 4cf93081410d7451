"""A kill falls exactly where the rule says: the file holds what was let through, and not a byte more."""

import errno
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.tap import Rule

from .conftest import Outcome

Python = Callable[..., Outcome]

WRITERS = {
    "write": 'os.write(os.open("f", os.O_CREAT | os.O_WRONLY), b"0123456789")',
    "write at an offset": 'f = os.open("f", os.O_CREAT | os.O_WRONLY); os.lseek(f, 0, 2); os.write(f, b"0123456789")',
    "append": 'os.write(os.open("f", os.O_WRONLY | os.O_APPEND | os.O_CREAT), b"0123456789")',
    "pwrite": 'os.pwrite(os.open("f", os.O_CREAT | os.O_WRONLY), b"0123456789", 0)',
    "writev": 'os.writev(os.open("f", os.O_CREAT | os.O_WRONLY), [b"012", b"", b"3456", b"789"])',
    "pwritev2": 'os.pwritev(os.open("f", os.O_CREAT | os.O_WRONLY), [b"01", b"23456789"], 0, os.RWF_DSYNC)',
    "sendfile": 'os.sendfile(os.open("f", os.O_CREAT | os.O_WRONLY), os.open("../digits", 0), 0, 10)',
    "copy_file_range": 'os.copy_file_range(os.open("../digits", 0), os.open("f", os.O_CREAT | os.O_WRONLY), 99)',
}


@pytest.mark.parametrize("how", WRITERS)
@pytest.mark.parametrize("count", [1, 5, 9])
def test_a_kill_inside_leaves_exactly_the_named_bytes(python: Python, root: Path, how: str, count: int) -> None:
    (root.parent / "digits").write_bytes(b"0123456789")
    outcome = python(WRITERS[how], Rule("r", op="write", path="f", when="inside", byte=count))
    assert outcome.code == -signal.SIGKILL
    assert (root / "f").read_bytes() == b"0123456789"[:count]
    assert [(event.written_bytes, event.point) for event in outcome.fired] == [(count, f"program/0/write:f#1@{count}")]


@pytest.mark.parametrize(("when", "expected"), [("before", b""), ("after", b"0123456789")])
def test_a_kill_before_or_after_a_write(python: Python, root: Path, when: str, expected: bytes) -> None:
    outcome = python(WRITERS["write"] + "; os.mkdir('late')", Rule("r", op="write", path="f", when=when))
    assert outcome.code == -signal.SIGKILL
    assert (root / "f").read_bytes() == expected
    assert not (root / "late").exists()


@pytest.mark.parametrize("mode", ["O_APPEND", "O_WRONLY"])
def test_a_torn_write_lands_behind_what_was_there(python: Python, root: Path, mode: str) -> None:
    source = f"""
        f = os.open("f", os.O_CREAT | os.O_WRONLY | os.{mode})
        os.write(f, b"first\\n")
        os.write(f, b"second\\n")
    """
    outcome = python(source, Rule("r", op="write", path="f", nth=2, when="inside", byte="middle"))
    assert (root / "f").read_bytes() == b"first\nsec"
    assert outcome.points == ["create:f#1", "write:f#1"]


def test_a_torn_write_of_many_buffers(python: Python, root: Path) -> None:
    python('open("f", "wb", 0).write(b"x" * 3_000_000)', Rule("r", op="write", when="inside", byte="last"))
    assert (root / "f").stat().st_size == 2_999_999


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("op", "call", "path"),
    [
        ("mkdir", 'os.mkdir("d")', "d"),
        ("create", 'os.open("n", os.O_CREAT | os.O_WRONLY)', "n"),
        ("rename", 'os.rename("old", "new")', "new"),
        ("create", 'os.link("old", "hard")', "hard"),
        ("create", 'os.symlink("old", "soft")', "soft"),
    ],
)
def test_a_kill_before_or_after_a_change_of_entries(
    python: Python, root: Path, when: str, op: str, call: str, path: str
) -> None:
    (root / "old").write_text("kept")
    outcome = python(call, Rule("r", op=op, path=path, when=when))
    assert outcome.code == -signal.SIGKILL
    assert (root / path).exists() == (when == "after")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ['os.truncate("f", 3)', 'os.ftruncate(os.open("f", os.O_RDWR), 3)'])
def test_a_kill_around_a_truncate(python: Python, root: Path, when: str, call: str) -> None:
    (root / "f").write_bytes(b"0123456789")
    python(call, Rule("r", op="truncate", path="f", when=when))
    assert (root / "f").read_bytes() == (b"012" if when == "after" else b"0123456789")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ['os.unlink("f")', 'os.rmdir("d")'])
def test_a_kill_around_an_unlink(python: Python, root: Path, when: str, call: str) -> None:
    (root / "f").touch()
    (root / "d").mkdir()
    python(call, Rule("r", op="unlink", when=when))
    gone = [name for name in ("f", "d") if not (root / name).exists()]
    assert gone == ([call[-3]] if when == "after" else [])


def test_nth_counts_the_calls_that_match_the_pattern(python: Python, root: Path) -> None:
    source = """
        for n in range(3):
            for name in ("a.csv", "b.csv", "c.txt"):
                with open(name, "ab", 0) as file:
                    file.write(b"%d" % n)
    """
    outcome = python(source, Rule("r", op="write", path="*.csv", nth=4, when="before"))
    assert outcome.fired[0].point == "program/0/write:b.csv#2"
    assert (root / "a.csv").read_bytes() == b"01"
    assert (root / "b.csv").read_bytes() == b"0"


def test_a_rule_of_another_life_stays_armed(python: Python) -> None:
    rule = Rule("later", op="mkdir", life=1)
    outcome = python('os.mkdir("d")', rule)
    assert outcome.code == 0
    assert outcome.rules == [rule]
    assert outcome.fired == []


def test_an_errno_once_then_the_retry_succeeds(python: Python, root: Path) -> None:
    source = """
        f = os.open("f", os.O_CREAT | os.O_WRONLY)
        try:
            os.write(f, b"row")
        except OSError as error:
            print(error.errno)
            os.write(f, b"again")
    """
    outcome = python(source, Rule("r", op="write", action="errno", errno="ENOSPC"))
    assert outcome.output == f"{errno.ENOSPC}\n"
    assert (root / "f").read_bytes() == b"again"
    assert outcome.points == ["create:f#1", "write:f#1"]


def test_an_errno_until_healed_hits_every_match(python: Python, root: Path) -> None:
    source = """
        f = os.open("f", os.O_CREAT | os.O_WRONLY)
        os.write(f, b"fine")
        for _ in range(3):
            try:
                os.fsync(f)
            except OSError as error:
                print(error.errno)
    """
    rule = Rule("r", op="fsync", path="f", action="errno", errno="EIO", times=None)
    outcome = python(source, rule)
    assert outcome.output == f"{errno.EIO}\n" * 3
    assert outcome.rules == [rule]


def test_a_short_write_returns_what_it_wrote(python: Python, root: Path) -> None:
    source = 'print(os.write(os.open("f", os.O_CREAT | os.O_WRONLY), b"0123456789"))'
    outcome = python(source, Rule("r", op="write", action="short", byte=4))
    assert outcome.output == "4\n"
    assert (root / "f").read_bytes() == b"0123"
