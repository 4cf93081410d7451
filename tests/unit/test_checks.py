"""Judging a journal: verdicts, findings, and which exit code wins."""

from collections.abc import Sequence

import msgspec
import pytest

from chaoskit.checks import Judgement, judge
from chaoskit.checks import judge as judging
from chaoskit.checks.judge import CHECKS
from chaoskit.model.events import (
    AnyEvent,
    EnvironmentLost,
    FaultFailed,
    FaultFired,
    LogLine,
    Message,
    ProgramExited,
    ProgramStarted,
    Ready,
    RunEnded,
    RunStarted,
)
from chaoskit.model.exit_codes import ExitCode, result_word, worst
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtCall, AtTime
from chaoskit.model.verdict import Finding

COMPLETE = RunEnded(2.0, "complete")
KILL = Step("kill", "worker", AtCall("write", "a.csv"))


def scenario(expect: tuple[str, ...] | int | str = ("A", "B"), success: str | None = None) -> Scenario:
    verifier = Verifier("judge", expect) if success is None else Verifier("judge", expect, success)
    programs = {"worker": Program(("x",)), "judge": Program(("y",))}
    return Scenario("small", programs, ("worker",), verifier, parameters={"COUNT": 2})


def journal(
    *events: AnyEvent,
    steps: Sequence[Step] = (),
    of: Scenario | None = None,
    end: RunEnded | None = COMPLETE,
) -> list[AnyEvent]:
    start = RunStarted(0.0, "0", of or scenario(), Plan(1, tuple(steps)), "local", "2026-01-01T00:00:00Z")
    begin: list[AnyEvent] = [start, ProgramStarted(0.1, "worker", 0, 1), Ready(0.2)]
    return [*begin, *events, *([end] if end else [])]


def says(text: str, program: str = "judge") -> LogLine:
    return LogLine(1.0, program, 0, text)


GREEN = (says("SUCCESS [A]"), says("SUCCESS [B]"))


def outcomes(judgement: Judgement) -> dict[str, str]:
    return {verdict.id: verdict.outcome for verdict in judgement.verdicts}


def texts(judgement: Judgement, check: str) -> list[str]:
    return [finding.text for finding in judgement.findings if finding.check == check]


def test_every_expected_verdict_is_success() -> None:
    judgement = judge(journal(*GREEN))
    assert judgement.code is ExitCode.OK
    assert outcomes(judgement) == {"A": "SUCCESS", "B": "SUCCESS"}


def test_a_verdict_counts_wherever_it_stands_in_a_line_and_keeps_its_detail() -> None:
    judgement = judge(journal(says("12:00 INFO judge: SUCCESS [A] - Expected: 60, Received: 60"), says("SUCCESS [B]")))
    assert judgement.verdicts[0].detail == "Expected: 60, Received: 60"
    assert judgement.code is ExitCode.OK


def test_the_same_verdict_printed_twice_is_one() -> None:
    judgement = judge(journal(*GREEN, says("INFO SUCCESS [A]"), says("SUCCESS [B] SUCCESS [B]")))
    assert [verdict.lines for verdict in judgement.verdicts] == [1, 1]
    assert judgement.code is ExitCode.OK


def test_a_failure_is_named_with_its_detail() -> None:
    judgement = judge(journal(says("SUCCESS [A]"), says("FAILURE [B] - Expected: 60, Received: 70")))
    assert judgement.code is ExitCode.FAILURE
    assert outcomes(judgement) == {"A": "SUCCESS", "B": "FAILURE"}
    assert judgement.verdicts[1].detail == "Expected: 60, Received: 70"


@pytest.mark.parametrize("lines", [("SUCCESS [A] one", "FAILURE [A] two"), ("FAILURE [A] two", "SUCCESS [A] one")])
def test_success_and_failure_for_one_id_contradict_and_fail(lines: tuple[str, str]) -> None:
    judgement = judge(journal(*map(says, lines), says("SUCCESS [B]")))
    assert outcomes(judgement)["A"] == "FAILURE"
    assert "contradicts" in judgement.verdicts[0].detail
    assert judgement.code is ExitCode.FAILURE


def test_an_expected_id_without_a_line_is_missing() -> None:
    judgement = judge(journal(says("SUCCESS [A]")))
    assert outcomes(judgement) == {"A": "SUCCESS", "B": "MISSING"}
    assert judgement.code is ExitCode.FAILURE


def test_an_id_that_nobody_expected_is_judged_too() -> None:
    assert outcomes(judge(journal(*GREEN, says("SUCCESS [C]"))))["C"] == "SUCCESS"
    assert judge(journal(*GREEN, says("FAILURE [C]"))).code is ExitCode.FAILURE


@pytest.mark.parametrize("expect", [2, "COUNT"])
def test_an_expected_number_of_verdicts_is_counted_by_id(expect: int | str) -> None:
    assert judge(journal(*GREEN, of=scenario(expect))).code is ExitCode.OK
    short = judge(journal(says("SUCCESS [A]"), says("SUCCESS [A]"), of=scenario(expect)))
    assert outcomes(short) == {"A": "SUCCESS", "#2 of 2": "MISSING"}
    assert short.code is ExitCode.FAILURE


def test_only_the_verifier_judges() -> None:
    judgement = judge(journal(says("SUCCESS [A]", "worker"), says("SUCCESS [B]")))
    assert outcomes(judgement) == {"A": "MISSING", "B": "SUCCESS"}


def test_a_fault_that_never_fired_is_inconclusive() -> None:
    judgement = judge(journal(*GREEN, steps=[KILL]))
    assert judgement.code is ExitCode.INCONCLUSIVE
    assert texts(judgement, "faults-fired") == [
        "never fired: kill worker at before write:a.csv#1 (the point was not reached: "
        "worker made no write, nor any other call that was seen)"
    ]
    assert not judgement.faults[0].fired


def test_a_fault_that_could_not_be_done_is_inconclusive_and_says_why() -> None:
    judgement = judge(journal(*GREEN, FaultFailed(1.5, 0, "worker was not running"), steps=[KILL]))
    assert judgement.code is ExitCode.INCONCLUSIVE
    assert "worker was not running" in texts(judgement, "faults-fired")[0]


def test_a_fault_that_fired_tells_where_and_when_and_how_long_the_restart_took() -> None:
    fired = FaultFired(0.5, 0, "worker/0/write:a.csv#1@3", 3, 13, b"abc")
    lives = (ProgramExited(0.6, "worker", 0, -9, True), ProgramStarted(0.75, "worker", 1, 2, 0.15))
    judgement = judge(journal(fired, *lives, *GREEN, steps=[KILL]))
    (record,) = judgement.faults
    assert (record.fired, record.exact, record.t_s, record.restarted_after_s) == (True, True, 0.5, 0.15)
    assert (record.trigger, record.written_bytes, record.when) == ("worker/0/write:a.csv#1@3", 3, "before")
    assert judgement.code is ExitCode.OK


def test_a_timed_fault_is_not_called_exact() -> None:
    step = Step("kill", "worker", AtTime(1.0))
    assert not judge(journal(FaultFired(1.0, 0, "x"), *GREEN, steps=[step])).faults[0].exact


def test_a_fault_on_another_program_in_between_does_not_hide_how_long_the_restart_took() -> None:
    doubled = Step("duplicate", "queue", AtCall("write", "a.csv"))
    lives = (ProgramExited(0.6, "worker", 0, -9, True), ProgramStarted(0.75, "worker", 1, 2, 0.15))
    fired = (FaultFired(0.5, 0, "worker/0/write:a.csv#1"), FaultFired(0.55, 1, "runner/published:queue#2"))
    first, second = judge(journal(*fired, *lives, *GREEN, steps=[KILL, doubled])).faults
    assert (first.restarted_after_s, second.restarted_after_s) == (0.15, None)


def test_a_restart_before_the_fault_is_not_taken_for_the_one_after_it() -> None:
    before = (ProgramExited(0.3, "worker", 0, -9), ProgramStarted(0.4, "worker", 1, 2, 0.1))
    judgement = judge(journal(*before, FaultFired(0.5, 0, "x"), *GREEN, steps=[KILL]))
    assert judgement.faults[0].restarted_after_s is None


@pytest.mark.parametrize(
    ("events", "end", "code"),
    [
        ((), RunEnded(2.0, "complete"), ExitCode.OK),
        ((), RunEnded(2.0, "interrupted"), ExitCode.INTERRUPTED),
        ((), RunEnded(2.0, "error", "no port"), ExitCode.ENVIRONMENT),
        ((), RunEnded(2.0, "timeout", "queues to drain (q: 1 ready)", 60), ExitCode.FAILURE),
        ((), RunEnded(2.0, "quiet", "faults (kill worker)", 3), ExitCode.INCONCLUSIVE),
        ((), RunEnded(2.0, "restart-loop", "worker, which dies again and again", 3), ExitCode.FAILURE),
        ((), None, ExitCode.INCONCLUSIVE),
        ((EnvironmentLost(1.0, "broker", "gone"),), RunEnded(2.0, "complete"), ExitCode.ENVIRONMENT),
        ((says("FAILURE [A]"), EnvironmentLost(1.0, "broker", "gone")), RunEnded(2.0, "error"), ExitCode.ENVIRONMENT),
        ((says("FAILURE [A]"),), None, ExitCode.FAILURE),
        ((ProgramExited(1.0, "worker", 0, 1),), RunEnded(2.0, "complete"), ExitCode.OK),
    ],
)
def test_how_a_run_ended_decides_the_exit_code(
    events: tuple[AnyEvent, ...], end: RunEnded | None, code: ExitCode
) -> None:
    assert judge(journal(*GREEN, *events, end=end)).code is code


def test_a_missing_verdict_outweighs_a_fault_that_never_fired() -> None:
    assert judge(journal(says("SUCCESS [A]"), steps=[KILL])).code is ExitCode.FAILURE


def test_a_run_that_was_given_up_says_what_it_waited_for_and_how_long() -> None:
    judgement = judge(journal(end=RunEnded(9.0, "quiet", "verdicts for A, B", 3.0)))
    assert texts(judgement, "run-ended") == ["nothing moved any more: waited 3.0 s for verdicts for A, B"]


def test_a_program_that_ended_by_itself_is_noted_not_judged() -> None:
    judgement = judge(journal(*GREEN, ProgramExited(1.0, "worker", 0, 3), ProgramExited(1.1, "worker", 1, 3)))
    assert texts(judgement, "exits") == ["worker ended by itself with code 3 (2 times)"]
    assert judgement.code is ExitCode.OK


def test_a_run_in_which_nothing_started_is_inconclusive() -> None:
    start, *_ = journal()
    judgement = judge([start, RunEnded(1.0, "complete")])
    assert "nothing ran" in texts(judgement, "ran")[0]
    assert judgement.code is ExitCode.FAILURE, "the verdicts are missing too, and that is worse"


def test_no_verdict_at_all_is_never_green() -> None:
    assert judge(journal(of=scenario(()))).code is ExitCode.INCONCLUSIVE


def test_a_check_that_crashes_is_inconclusive_and_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(events: Sequence[AnyEvent], start: RunStarted) -> list[Finding]:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setitem(CHECKS, "environment", crash)
    judgement = judge(journal(*GREEN))
    assert judgement.code is ExitCode.INCONCLUSIVE
    assert texts(judgement, "environment") == ["the check environment crashed: ZeroDivisionError: a bug of ours"]
    assert outcomes(judgement) == {"A": "SUCCESS", "B": "SUCCESS"}
    assert judge(journal(says("FAILURE [A]"))).code is ExitCode.FAILURE


def test_a_verifier_pattern_that_cannot_be_used_is_inconclusive() -> None:
    judgement = judge(journal(*GREEN, of=scenario(success="(")))
    assert judgement.code is ExitCode.INCONCLUSIVE
    assert "the check verdicts crashed" in texts(judgement, "verdicts")[0]


def test_a_journal_without_its_beginning_cannot_be_judged() -> None:
    for events in ([], [Ready(0.1)]):
        with pytest.raises(ValueError, match="does not begin with"):
            judging(events)


@pytest.mark.parametrize(
    ("codes", "wins"),
    [
        ((), ExitCode.OK),
        ((ExitCode.OK, ExitCode.INCONCLUSIVE), ExitCode.INCONCLUSIVE),
        ((ExitCode.INCONCLUSIVE, ExitCode.FAILURE), ExitCode.FAILURE),
        ((ExitCode.FAILURE, ExitCode.ENVIRONMENT, ExitCode.INCONCLUSIVE), ExitCode.ENVIRONMENT),
        ((ExitCode.ENVIRONMENT, ExitCode.INTERRUPTED, ExitCode.FAILURE), ExitCode.INTERRUPTED),
    ],
)
def test_when_several_codes_apply_the_environment_wins_then_failure_then_inconclusive(
    codes: tuple[ExitCode, ...], wins: ExitCode
) -> None:
    assert worst(codes) is wins
    assert worst(reversed(codes)) is wins


def test_each_exit_code_has_the_word_of_the_report() -> None:
    words = {int(code): result_word(code) for code in ExitCode}
    assert words == {0: "pass", 1: "fail", 2: "error", 3: "error", 4: "inconclusive", 130: "error"}


# ---- results that come again ----


@pytest.mark.parametrize(
    "events",
    [(RunEnded(2.0, "interrupted"),), (EnvironmentLost(1.5, "broker", "it is gone"), RunEnded(2.0, "error"))],
)
def test_a_verifier_is_not_blamed_for_a_run_that_was_cut_short(events: tuple[AnyEvent, ...]) -> None:
    printing = (ProgramStarted(0.1, "judge", 0, 2), says("waiting for results"))
    assert texts(judge(journal(*printing)), "verifier")
    assert texts(judge(journal(*printing, *events, end=None)), "verifier") == []


def with_results() -> Scenario:
    plain = scenario()
    return msgspec.structs.replace(plain, verifier=msgspec.structs.replace(plain.verifier, results="results"))


def sends(message_id: str, queue: str = "results", injected: bool = False) -> Message:
    return Message(0.5, "worker", "published", queue, 1, message_id, injected=injected)


ACKS = Message(0.6, "worker", "acked", "input", 1)
DIES = ProgramExited(0.7, "worker", 0, -9, hurt=True)


@pytest.mark.parametrize(
    "events",
    [
        (sends("A"), sends("B"), ACKS),
        (sends("A"), DIES, sends("A"), ACKS),
        (sends("A"), DIES, sends("A"), DIES, sends("A"), ACKS),
        (sends("A"), DIES, ACKS, sends("A")),
        (sends("A"), ACKS, sends("A", queue="another"), sends("A", injected=True)),
        (sends(""), ACKS, sends("")),
    ],
)
def test_a_result_may_come_again_when_its_sender_died_before_it_acknowledged(events: tuple[AnyEvent, ...]) -> None:
    assert judge(journal(*GREEN, *events, of=with_results())).code is ExitCode.OK


@pytest.mark.parametrize(
    "events",
    [
        (sends("A"), ACKS, sends("A")),
        (sends("A"), ACKS, DIES, sends("A")),
        (sends("A"), sends("A")),
        (sends("A"), DIES, sends("A"), ACKS, DIES, sends("A")),
    ],
)
def test_a_result_that_comes_again_without_a_reason_is_a_failure(events: tuple[AnyEvent, ...]) -> None:
    made = judge(journal(*GREEN, *events, of=with_results()))
    assert made.code is ExitCode.FAILURE
    assert texts(made, "repeats") == ["worker sent the result A again, 1 times more than its deaths explain"]
    assert judge(journal(*GREEN, *events)).code is ExitCode.OK, "only where the scenario asks for it"
