"""Why a step never fired, in words that say what to change in the plan."""

from collections.abc import Sequence

import pytest

from chaoskit.checks.unreached import why_unreached
from chaoskit.model.events import AnyEvent, Call, LogLine, Message, Ready, RunEnded
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall, AtIntervals, AtLog, AtMessage, AtTime, Trigger

EVENTS: Sequence[AnyEvent] = (
    Ready(0.5),
    *(Call(1.0, "w", 0, "write", "a.csv", n) for n in (1, 2)),
    Call(1.1, "w", 1, "write", "a.csv", 1),
    Call(1.2, "w", 1, "fsync", "b/c.csv", 1),
    Call(1.2, "other", 0, "rename", "x", 1),
    LogLine(1.3, "w", 0, "chunk 1 done"),
    LogLine(1.4, "w", 0, "chunk 2 done"),
    *(Message(1.5, "w", "delivered", "in", n) for n in (1, 2, 3)),
    Message(1.5, "w", "delivered", "in", 4, injected=True),
    RunEnded(3.0, "complete"),
)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (AtCall("write", "a.csv", 5), "write a.csv came 2 times in one life, not 5"),
        (AtCall("write", "a.csv", 2), "write a.csv #2 came only while its life, or the run, was ending"),
        (AtCall("write", "*", 5, life=1), "write * came 1 times in life 1, not 5"),
        (AtCall("write", "A.csv"), "no write on A.csv, only on a.csv"),
        (AtCall("fsync", "b/*", life=0), "w made no fsync in life 0, only write"),
        (AtCall("rename", "x"), "w made no rename, only write, fsync"),
        (AtCall("change", "*", 9), "change * came 2 times in one life, not 9"),
        (AtLog("chunk . done", 3), "2 lines of w match, not 3"),
        (AtLog("chunk 3"), "none of the 2 lines of w matches; the last one: 'chunk 2 done'"),
        (AtMessage("delivered", "in", 7), "3 messages were delivered (in), not 7"),
        (AtMessage("delivered", "into", 1), "no message was delivered (into), only of in"),
        (AtMessage("acked", "in", 1), "no message was acked (in), nor any other"),
        (AtTime(9.0), "over 2.5 s after it was ready, before it came to that: name an earlier time"),
        (AtIntervals(mean_s=60), "over 2.5 s after it was ready, before it came to that: shorten the time between"),
    ],
)
def test_what_there_was_instead(at: Trigger, words: str) -> None:
    assert words in why_unreached(Step("kill", "w", at), EVENTS)


def test_a_program_that_did_nothing() -> None:
    assert "silent made no write, nor any other call that was seen" in why_unreached(
        Step("kill", "silent", AtCall("write", "*")), EVENTS
    )
    assert "silent printed nothing" in why_unreached(Step("kill", "silent", AtLog("x")), EVENTS)


def test_many_names_are_cut() -> None:
    calls = [Call(1.0, "w", 0, "write", f"file-{n}", 1) for n in range(20)]
    assert "file-4 and 15 more" in why_unreached(Step("kill", "w", AtCall("write", "none")), calls)


@pytest.mark.parametrize(
    ("fault", "byte", "words"),
    [
        ("kill", 9999, "that write has only 12 bytes"),
        ("power-loss", 13, "that write has only 12 bytes"),
        ("short-write", 12, "that write has only 12 bytes"),
        ("kill", 12, "came only while its life, or the run, was ending"),
        ("short-write", 11, "came only while its life, or the run, was ending"),
    ],
)
def test_a_byte_beyond_the_end_of_the_write(fault: str, byte: int, words: str) -> None:
    calls = [
        Call(1.0, "w", life, "write", "f", n, size)
        for life, n, size in ((0, 1, 99), (0, 2, 10), (1, 1, 99), (1, 2, 12))
    ]
    assert words in why_unreached(Step(fault, "w", AtCall("write", "f", 2, "inside", byte)), calls)
