"""Files that a fault fell on are read again when a later life changes them, and only then."""

import base64
from pathlib import Path

from chaoskit.agent.revisits import Revisits
from chaoskit.tap import Call, Ended, Fired, Report

POINT = "worker-2/0/write:rows.csv#2@3"


def _fired(tail: bytes, size: int, life: int = 0) -> Report:
    return Report("worker-2", life, Fired("0", POINT, "kill", "inside", 3, 1.0), file_bytes=size, tail=tail)


def _call(life: int, path: str = "rows.csv", program: str = "worker-2") -> Report:
    return Report(program, life, Call(f"{program}/{life}/truncate:{path}#1", "truncate", path, 1, life, 7, 0, 0, 2.0))


def test_the_first_change_of_a_later_life_shows_the_file_from_where_the_tail_began(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"aaaabbbb")
    revisits = Revisits()
    assert revisits.file_of(_fired(b"bbbbccc", 11), tmp_path) == []
    [later] = revisits.file_of(_call(1), tmp_path)
    assert (later["offset"], later["file_bytes"], base64.b64decode(later["data"])) == (4, 8, b"bbbb")


def test_a_file_that_two_lives_were_hurt_at_is_shown_from_where_each_tail_began(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"aaaabbbbcccc")
    revisits = Revisits()
    for life, (tail, size) in enumerate([(b"bbbb", 8), (b"cccc", 12), (b"cccc", 12)]):
        revisits.file_of(_fired(tail, size, life), tmp_path)
    shown = [(later["offset"], base64.b64decode(later["data"])) for later in revisits.file_of(_call(3), tmp_path)]
    assert shown == [(4, b"bbbbcccc"), (8, b"cccc")]
    assert [later["offset"] for later in revisits.file_of(_call(1), tmp_path)] == [4]


def test_the_same_life_another_file_and_another_program_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"x")
    revisits = Revisits()
    revisits.file_of(_fired(b"x", 1), tmp_path)
    reports = [_call(0), _call(1, path="other.csv"), _call(1, program="worker-3"), Report("worker-2", 1, Ended(1, 2.0))]
    assert [revisits.file_of(report, tmp_path) for report in reports] == [[], [], [], []]


def test_a_file_that_is_gone_or_a_link_out_of_the_directory_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    data = tmp_path / "data"
    data.mkdir()
    revisits = Revisits()
    revisits.file_of(_fired(b"x", 1), data)
    assert revisits.file_of(_call(1), data) == [{"offset": 0}]
    (data / "rows.csv").symlink_to(tmp_path / "secret")
    assert revisits.file_of(_call(1), data) == [{"offset": 0}]
