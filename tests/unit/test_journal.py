"""The journal: what is written is read back, a torn last line and unknown events are skipped, the rest is an error."""

from pathlib import Path

import pytest

from chaoskit import journal
from chaoskit.model.errors import UsageError
from chaoskit.model.events import (
    AnyEvent,
    Call,
    FaultFired,
    LogLine,
    Message,
    ProgramStarted,
    Ready,
    RunEnded,
    RunStarted,
    decode,
    encode,
)
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtCall, AtLog, AtMessage, AtTime

STEPS = (
    Step("kill", "w", AtCall("write", "a/*.csv", 2, "inside", "last", 3), {"restart": False}),
    Step("kill", "w", AtLog("x+", 2)),
    Step("duplicate", "q", AtMessage("acked", "q", 4)),
    Step("pause", "w", AtTime(1.5), {"for_s": 0.5}),
)
SCENARIO = Scenario(
    "s", {"w": Program(("x",), environment={"A": 1, "B": True, "C": 1.5, "D": "d"})}, ("w",), Verifier("w", 1)
)
EVENTS: list[AnyEvent] = [
    RunStarted(0.0, "0.1", SCENARIO, Plan(7, STEPS), "local", "2026-01-01T00:00:00Z"),
    ProgramStarted(0.1, "w", 0, 17),
    LogLine(0.2, "w", 0, "naïve \u2028 \x1b[31m \ufffd"),
    Call(0.3, "w", 0, "write", "a/ü.csv", 1, 10, -28),
    Message(0.4, "w", "published", "q", 1, "id", 3, True, True),
    FaultFired(0.5, 0, "w/0/write:a.csv#2@7", 7, 27, b"\x00\xff\n"),
    RunEnded(0.6, "complete"),
]


def written(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    writer = journal.Writer(path)
    for event in EVENTS:
        writer.append(event)
    writer.close()
    return path


def test_what_is_written_is_read_back_one_line_an_event(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert path.read_bytes().count(b"\n") == len(EVENTS)
    assert journal.read(path) == EVENTS


def test_a_journal_cut_at_any_byte_gives_every_whole_line(tmp_path: Path) -> None:
    data = written(tmp_path).read_bytes()
    cut = tmp_path / "cut.jsonl"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        assert journal.read(cut) == EVENTS[: data[:length].count(b"\n")]


def test_an_event_of_a_later_version_is_skipped(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(b'{"type":"from-the-future","t_s":0.05,"x":1}\n' + path.read_bytes())
    assert journal.read(path) == EVENTS


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert decode(encode(EVENTS[1])[:-1] + b',"later":1}') == EVENTS[1]


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff\xfe", b"[]", b'{"t_s":1}', b'{"type":"started","t_s":"x"}', b"\x00" * 9]
)
def test_a_line_that_is_no_event_is_an_error_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(UsageError, match=f"line {len(EVENTS) + 1}: not a journal line") as caught:
        journal.read(path)
    assert "\n" not in str(caught.value)


def test_a_bad_value_inside_a_known_event_is_an_error_not_an_unknown_event(tmp_path: Path) -> None:
    line = encode(EVENTS[0]).replace(b'"type":"time"', b'"type":"whenever"')
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(UsageError, match="line 1"):
        journal.read(path)


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(FileExistsError):
        journal.Writer(path)
    assert journal.read(path) == EVENTS


def test_a_journal_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UsageError, match="is this the directory of a run"):
            journal.read(path)


def test_an_event_after_the_end_is_written_nowhere_else(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path / "first")
    writer.close()
    # The next file that is opened gets the number of the descriptor that was closed.
    with (tmp_path / "second").open("wb"), pytest.raises(OSError, match="Bad file descriptor"):
        writer.append(Ready(1.0))
    assert (tmp_path / "second").read_bytes() == b""
