"""Verdicts by exit code, verifiers that end early or speak in other words, and faults that recur."""

import msgspec
import pytest

from chaoskit.checks import Judgement, judge
from chaoskit.model.events import (
    AnyEvent,
    FaultFired,
    LogLine,
    ProgramExited,
    ProgramStarted,
    Ready,
    RunEnded,
    RunStarted,
)
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtIntervals

BY_EXIT = Verifier("verifier", expect=("alone",), command=("./check",), exit_code=True)
BY_LINES = Verifier("verifier", expect=("A",), command=("./check",))
PROGRAM = Verifier("verifier", expect=("A", "B"))
RECURRING = Step("kill", "w*", AtIntervals(every_s=1))


def judged(*events: AnyEvent, verifier: Verifier = BY_EXIT, steps: tuple[Step, ...] = ()) -> Judgement:
    scenario = Scenario("alone", {"worker": Program(("w",)), "verifier": Program(("v",))}, ("worker",), verifier)
    start = RunStarted(0.0, "0", scenario, Plan(1, steps), "local", "2026-01-01T00:00:00Z")
    before = [start, ProgramStarted(0.1, "worker", 0, 1), Ready(0.2), ProgramStarted(0.3, "verifier", 0, 2)]
    return judge([*before, *events, RunEnded(2.0, "complete")])


def says(text: str, life: int = 0) -> LogLine:
    return LogLine(1.0, "verifier", life, text)


def ends(code: int, life: int = 0) -> ProgramExited:
    return ProgramExited(1.5, "verifier", life, code)


def finding(judgement: Judgement) -> str:
    (text,) = (f.text for f in judgement.findings if f.check == "verifier")
    return text


def test_exit_code_0_is_success_with_the_last_line_as_its_detail() -> None:
    judgement = judged(says("looking"), says("3 rows, all there"), says(" "), ends(0))
    (verdict,) = judgement.verdicts
    assert (verdict.id, verdict.outcome, verdict.detail) == ("alone", "SUCCESS", "3 rows, all there")
    assert judgement.code is ExitCode.OK and judgement.findings == ()


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "(exit code 1)"), (127, "(exit code 127)"), (-11, "(killed by SIGSEGV)"), (-9, "(killed by SIGKILL)")],
)
def test_any_other_end_is_a_failure_that_says_how(code: int, words: str) -> None:
    judgement = judged(says("row 2 is gone"), ends(code))
    assert judgement.verdicts[0].outcome == "FAILURE"
    assert judgement.verdicts[0].detail == f"row 2 is gone {words}"
    assert judgement.code is ExitCode.FAILURE


def test_lines_are_no_verdicts_where_the_exit_code_is() -> None:
    judgement = judged(says("SUCCESS [alone]"), says("SUCCESS [other]"), ends(1))
    assert [(v.id, v.outcome) for v in judgement.verdicts] == [("alone", "FAILURE")]


@pytest.mark.parametrize("cut_short", [(), (msgspec.structs.replace(ends(0), stopping=True),)])
def test_a_verifier_that_did_not_come_to_its_end_is_missing(cut_short: tuple[AnyEvent, ...]) -> None:
    judgement = judged(*cut_short)
    assert judgement.verdicts[0].outcome == "MISSING" and judgement.code is ExitCode.FAILURE


def test_of_several_ends_the_last_one_counts() -> None:
    again = ProgramStarted(1.6, "verifier", 1, 3)
    assert judged(says("bad"), ends(1), again, says("good", 1), ends(0, 1)).verdicts[0].detail == "good"


@pytest.mark.parametrize("code", [1, -6])
def test_a_command_that_says_success_and_crashes_is_not_green(code: int) -> None:
    judgement = judged(says("SUCCESS [A]"), ends(code), verifier=BY_LINES)
    assert judgement.code is ExitCode.FAILURE and "ended badly" in finding(judgement)
    assert judged(says("SUCCESS [A]"), ends(0), verifier=BY_LINES).code is ExitCode.OK


def test_a_pattern_without_an_id_stands_for_the_one_verdict() -> None:
    verifier = msgspec.structs.replace(BY_LINES, success="all good", failure="bad: ")
    assert judged(says("all good"), ends(0), verifier=verifier).verdicts[0].outcome == "SUCCESS"
    (verdict,) = judged(says("bad: 3 rows"), ends(0), verifier=verifier).verdicts
    assert (verdict.id, verdict.outcome, verdict.detail) == ("A", "FAILURE", "3 rows")


def test_a_verifier_that_ends_early_is_named_with_what_it_did_not_judge() -> None:
    judgement = judged(says("SUCCESS [A]"), ends(0), verifier=PROGRAM)
    assert judgement.code is ExitCode.FAILURE
    assert "ended by itself (exit code 0) before it had judged B" in finding(judgement)


def test_patterns_that_never_match_are_named_with_a_line_that_did_not() -> None:
    judgement = judged(says("client A: ok"), says("client B: ok"), verifier=PROGRAM)
    assert judgement.code is ExitCode.FAILURE
    assert "none of the 2 lines of verifier matches" in finding(judgement)
    assert "'client B: ok'" in finding(judgement)


def test_a_verifier_that_prints_nothing_is_named() -> None:
    assert "printed nothing" in finding(judged(verifier=PROGRAM))


def test_a_step_that_recurs_has_a_record_for_each_time_it_happened() -> None:
    fired = [FaultFired(t_s, 0, f"{t_s} s", target=name) for t_s, name in ((0.5, "worker"), (0.9, "other"))]
    judgement = judged(*fired, ends(0), steps=(RECURRING,))
    assert [(r.target, r.t_s, r.fired, r.exact) for r in judgement.faults] == [
        ("worker", 0.5, True, False),
        ("other", 0.9, True, False),
    ]
    assert judgement.code is ExitCode.OK


def test_a_step_that_recurs_and_never_did_is_inconclusive_and_says_what_to_change() -> None:
    judgement = judged(ends(0), steps=(RECURRING,))
    assert judgement.code is ExitCode.INCONCLUSIVE
    (text,) = (f.text for f in judgement.findings if f.check == "faults-fired")
    assert "over 1.8 s after it was ready" in text and "shorten the time between" in text
