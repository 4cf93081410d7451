"""The report in one sentence: it names the client, the program, the place of the kill, and what was lost."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from chaoskit.model.events import (
    AnyEvent,
    Call,
    FaultFired,
    LogLine,
    Message,
    ProgramExited,
    ProgramStarted,
    Ready,
    RunEnded,
    RunStarted,
)
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.run import Coverage, Failed, Points, Report
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtCall
from chaoskit.model.verdict import FaultRecord, Finding, Verdict
from chaoskit.report.sentence import sentence

FILE = "metadata/CLI2.csv"
W2 = "worker-2"
SCENARIO = Scenario(
    "stateful",
    {W2: Program(("python",)), "worker-3": Program(("python",))},
    (W2,),
    Verifier("worker-3", ("CLI2",), results="queue-2-3"),
)


class Journal:
    """A journal that grows by one event a hundredth of a second."""

    def __init__(self, steps: Sequence[Step] = ()) -> None:
        self.events: list[AnyEvent] = [RunStarted(0.0, "0", SCENARIO, Plan(0, tuple(steps)), "local", "now")]
        self._counts: dict[Any, int] = {}

    def add(self, kind: type, *args: Any, **more: Any) -> "Journal":
        self.events.append(kind(round(len(self.events) / 100, 2), *args, **more))
        return self

    def count(self, *key: Any) -> int:
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key]

    def call(self, op: str, path: str = FILE, life: int = 0, size: int = 18) -> "Journal":
        return self.add(Call, W2, life, op, path, self.count(life, op, path), size, size)

    def message(self, kind: str, queue: str, id: str) -> "Journal":  # noqa: A002 (the event's own word)
        return self.add(Message, W2, kind, queue, self.count(kind, queue), id)

    def chunk(self, n: int, life: int = 0) -> "Journal":
        self.message("delivered", "queue-1-2", f"CLI20000000{n}")
        return self.call("write", life=life).call("fsync", life=life)

    def ack(self, n: int, life: int = 0) -> "Journal":
        return self.call("send", "broker", life).message("acked", "queue-1-2", f"CLI20000000{n}")

    def start(self, life: int = 0) -> "Journal":
        return self.add(ProgramStarted, W2, life, 1000 + life)

    def result(self) -> "Journal":
        self.call("send", "broker").call("send", "broker").message("published", "queue-2-3", "CLI2/result")
        return self.call("create", "metadata/done/CLI2").call("unlink")


def whole() -> list[AnyEvent]:
    """A control run: three rows, the result, and its marker."""
    journal = Journal().start().add(Ready)
    for n in (1, 2):
        journal.chunk(n).ack(n)
    return journal.chunk(3).result().ack(3).add(RunEnded, "complete").events


def kill(when: str = "after", op: str = "write", path: str = FILE, nth: int = 3, byte: int | None = None) -> Step:
    return Step("kill", W2, AtCall(op, path, nth, when, byte))  # type: ignore[arg-type]


def killed_at_last_row(step: Step, point: str, written: int | None = None) -> list[AnyEvent]:
    """Killed at the third row: it is in the journal when the kill fell after it."""
    journal = Journal([step]).start().add(Ready)
    for n in (1, 2):
        journal.chunk(n).ack(n)
    journal.message("delivered", "queue-1-2", "CLI200000003")
    if isinstance(step.at, AtCall) and step.at.when == "after":
        journal.call("write")
    journal.add(FaultFired, 0, point, written).add(ProgramExited, W2, 0, -9, True)
    return journal.start(1).add(RunEnded, "quiet", "verdicts for CLI2").events


def report(
    verdict: Verdict | None, fault: FaultRecord | None, code: ExitCode = ExitCode.FAILURE, **changes: Any
) -> Report:
    results: dict[ExitCode, Any] = {ExitCode.OK: "pass", ExitCode.FAILURE: "fail", ExitCode.ENVIRONMENT: "error"}
    fields: dict[str, Any] = {
        "chaoskit": "0",
        "scenario": "stateful",
        "runtime": "local",
        "seed": 1,
        "parameters": {},
        "result": results.get(code, "inconclusive"),
        "exit_code": int(code),
        "started": "",
        "duration_s": 1.25,
        "verdicts": (verdict,) if verdict else (),
        "faults": (fault,) if fault else (),
        "restarts": {},
        "replay": "chaoskit replay x",
        "run_dir": "x",
    }
    return Report(**{**fields, **changes})


def record(trigger: str, when: str = "", written: int | None = None, fault: str = "kill") -> FaultRecord:
    return FaultRecord(fault, W2, trigger, True, True, 0.4, 0.1, written, when)


def said(made: Report, events: Sequence[AnyEvent], control: Sequence[AnyEvent] = ()) -> str:
    """The sentence of a report whose faults happened when the journal says."""
    at: dict[str, list[float]] = {}
    for event in events:
        if isinstance(event, FaultFired):
            at.setdefault(event.point, []).append(event.t_s)
    faults = [structs.replace(f, t_s=at[f.trigger].pop(0)) if at.get(f.trigger) else f for f in made.faults]
    return sentence(structs.replace(made, faults=tuple(faults)), events, control)


MISSING = Verdict("CLI2", "MISSING", 0, "no verdict line came")
POINT = f"{W2}/0/write:{FILE}#3"


def test_a_lost_result_is_told_as_the_acts_around_the_kill() -> None:
    events = killed_at_last_row(kill(), POINT)
    assert said(report(MISSING, record(POINT, "after")), events, whole()) == (
        f"CLI2 got no result: worker-2 was killed after the last row was written to {FILE} "
        "and before the result was sent"
    )


def test_without_a_control_run_only_the_past_is_told() -> None:
    events = killed_at_last_row(kill(), POINT)
    assert said(report(MISSING, record(POINT, "after")), events) == (
        f"CLI2 got no result: worker-2 was killed after the third write to {FILE} was made"
    )


def test_a_kill_inside_a_write_says_how_much_of_it_was_written() -> None:
    events = killed_at_last_row(kill("inside", byte=7), f"{POINT}@7", 7)
    wrong = Verdict("CLI2", "FAILURE", 1, "Expected: 60, Received: 42")
    assert said(report(wrong, record(f"{POINT}@7", "inside", 7)), events, whole()) == (
        "CLI2 got a wrong result (Expected: 60, Received: 42): worker-2 was killed in the middle of the last write to "
        f"{FILE}, after 7 of 18 bytes"
    )


def test_a_kill_before_a_call_names_what_was_done_and_that_call() -> None:
    events = killed_at_last_row(kill("before"), POINT)
    told = said(report(MISSING, record(POINT, "before")), events, whole())
    assert told.endswith(f"after message CLI200000003 was delivered and before the last row was written to {FILE}")


def test_a_power_loss_tells_of_the_flush_that_a_kill_does_not_see() -> None:
    events = killed_at_last_row(Step("power-loss", W2, AtCall("write", FILE, 3, "after")), POINT)
    told = said(report(MISSING, record(POINT, "after", fault="power-loss")), events, whole())
    assert told == (
        f"CLI2 got no result: the power of worker-2 was cut after the last row was written to {FILE} and before {FILE} "
        "was flushed to disk"
    )


def test_a_kill_in_a_recovery_is_told_as_such() -> None:
    point = f"{W2}/1/truncate:{FILE}#1"
    step = kill("before", "truncate", nth=1)
    journal = Journal([step]).start().add(ProgramExited, W2, 0, -9, True).start(1)
    events = journal.add(FaultFired, 0, point).add(ProgramExited, W2, 1, -9, True).events
    told = said(report(MISSING, record(point, "before")), events, whole())
    assert told == f"CLI2 got no result: worker-2 was killed while it recovered, before {FILE} was cut back"


def test_a_kill_at_a_log_line_is_told_by_the_acts_before_its_death() -> None:
    journal = Journal([kill()]).start().chunk(1).ack(1).message("delivered", "queue-1-2", "CLI200000002").call("write")
    fault = f"{W2}/0/log:Processing chunk 2"
    events = journal.add(FaultFired, 0, fault).add(ProgramExited, W2, 0, -9, True).events
    told = said(report(MISSING, record(fault)), events, whole())
    assert told.endswith(
        f"worker-2 was killed after the second write to {FILE} was made "
        "and before message CLI200000002 was acknowledged"
    )


def test_where_nothing_is_known_of_the_place_the_trigger_is_told() -> None:
    events = Journal([kill()]).add(FaultFired, 0, f"{W2} 1.5 s after the pipeline is ready").events
    told = said(report(MISSING, record(f"{W2} 1.5 s after the pipeline is ready")), events)
    assert told == "CLI2 got no result: worker-2 was killed at worker-2 1.5 s after the pipeline is ready"


def test_faults_whose_events_are_not_at_hand_are_named() -> None:
    assert said(report(MISSING, record("x")), ()) == "CLI2 got no result: kill of worker-2"
    good = Verdict("CLI2", "SUCCESS", 1)
    assert (
        said(report(good, record("x"), ExitCode.OK), ()) == "the one verdict is SUCCESS, in spite of kill of worker-2"
    )


def test_of_several_kills_the_one_that_touches_the_client_is_told() -> None:
    other = f"{W2}/0/write:metadata/CLI1.csv#1"
    journal = Journal([kill(path="metadata/CLI1.csv", nth=1), kill(), kill(path="metadata/CLI1.csv", nth=1)])
    journal.start().call("write", "metadata/CLI1.csv").add(FaultFired, 0, other).add(ProgramExited, W2, 0, -9, True)
    journal.start(1).add(FaultFired, 1, f"{W2}/1/write:{FILE}#1").add(ProgramExited, W2, 1, -9, True).start(2)
    journal.add(FaultFired, 2, f"{W2}/2/write:metadata/CLI1.csv#1").add(ProgramExited, W2, 2, -9, True)
    third = record(f"{W2}/2/write:metadata/CLI1.csv#1", "before")
    faults = (record(other, "after"), record(f"{W2}/1/write:{FILE}#1", "before"), third)
    made = report(MISSING, None, faults=faults)
    told = said(made, journal.events, whole())
    assert told.startswith("CLI2 got no result: worker-2 was killed 3 times, once while it recovered, before")
    assert FILE in told


def test_contradicting_verdicts_and_several_clients_are_named() -> None:
    verdicts = (
        Verdict("CLI1", "FAILURE", 2, "row lost (contradicts an earlier SUCCESS: fine)"),
        Verdict("CLI2", "MISSING"),
        Verdict("CLI3", "MISSING"),
    )
    told = said(report(None, None, verdicts=verdicts), Journal().events)
    assert told == (
        "CLI1 was said to be right and then wrong (row lost) and CLI2 and CLI3 got no result, though nothing had been "
        "hurt"
    )


def test_ids_that_are_only_counted_are_counted() -> None:
    verdicts = (Verdict("T-1", "SUCCESS", 1), Verdict("#2 of 3", "MISSING"), Verdict("#3 of 3", "MISSING"))
    told = said(report(None, None, verdicts=verdicts), Journal().events)
    assert told == "2 of 3 results did not come, though nothing had been hurt"


def test_where_something_died_of_a_fault_that_did_not_count_nobody_says_that_nothing_was_hurt() -> None:
    hurt = Journal().add(ProgramExited, W2, 0, -9, True).events
    assert said(report(MISSING, None), hurt).endswith(", though no planned fault fired")


def test_a_red_control_run_is_the_whole_story() -> None:
    finding = Finding("control", ExitCode.FAILURE, "the control run is not green")
    told = said(report(MISSING, None, findings=(finding,)), Journal().events)
    assert told == "stateful is not green without any fault either: CLI2 got no result"


@pytest.mark.parametrize(
    ("code", "changes", "words"),
    [
        (ExitCode.OK, {}, "the one verdict is SUCCESS, although worker-2 was killed in the middle of"),
        (ExitCode.OK, {"faults": ()}, "the one verdict is SUCCESS; nothing was hurt"),
        (ExitCode.INTERRUPTED, {}, "interrupted after 1.2 s, so nothing is proved"),
        (
            ExitCode.ENVIRONMENT,
            {"findings": (Finding("environment", ExitCode.ENVIRONMENT, "broker lost: reset"),)},
            "nothing can be said about stateful: broker lost: reset",
        ),
        (
            ExitCode.INCONCLUSIVE,
            {"faults": (FaultRecord("kill", W2, "write:a#1", True, False, note="the point was not reached"),)},
            "a planned fault never happened: kill worker-2 at write:a#1; the point was not reached",
        ),
        (
            ExitCode.INCONCLUSIVE,
            {"faults": (), "findings": (Finding("ran", ExitCode.INCONCLUSIVE, "nothing ran"),), "verdicts": ()},
            "nothing is proved: nothing ran",
        ),
        (
            ExitCode.FAILURE,
            {"findings": (Finding("repeats", ExitCode.FAILURE, "worker-2 sent the result again"),)},
            "worker-2 sent the result again: worker-2 was killed",
        ),
    ],
)
def test_each_result_has_its_sentence(code: ExitCode, changes: dict[str, Any], words: str) -> None:
    events = killed_at_last_row(kill("inside", byte=7), f"{POINT}@7", 7)
    good = Verdict("CLI2", "SUCCESS", 1)
    assert words in said(report(good, record(f"{POINT}@7", "inside", 7), code, **changes), events, whole())


def exploration(**changes: Any) -> Report:
    rows = (Coverage("write", FILE, 3, 9, 7), Coverage("send", "broker", 2, 4, 4))
    fields = {"points": Points(13, 13, 11), "coverage": rows, **changes}
    return report(None, None, **fields)


def test_an_exploration_tells_its_worst_failure() -> None:
    seldom = Failed(["kill a"], (MISSING, MISSING), "x", "1 of 3")
    sure = Failed(["kill b"], (MISSING,), "x", "3 of 3")
    told = said(exploration(failures=(seldom, sure)), ())
    assert told == (
        "11 of 13 experiments were survived; the worst of the 2 that were not (3 of 3 times): "
        "CLI2 got no result: kill b"
    )
    named = Failed(["kill b"], (MISSING,), "x", "3 of 3", sentence="CLI2 got no result: so and so")
    assert said(exploration(failures=(named,)), ()).endswith(
        "one was not (3 of 3 times): CLI2 got no result: so and so"
    )


def test_a_green_exploration_and_one_that_was_cut_off() -> None:
    assert said(exploration(result="pass", exit_code=0), ()) == ("all 13 experiments at 5 crash points were survived")
    cut = Finding("explore", ExitCode.INCONCLUSIVE, "the time budget is used up")
    told = said(exploration(result="inconclusive", exit_code=4, findings=(cut,)), ())
    assert told == "11 of 13 experiments were survived, but the time budget is used up"


TEXTS = st.text(max_size=20) | st.sampled_from(["\x1b[31m", "a/0/write:b#1", f"{POINT}@7", "#2 of 3", "\u202e", ""])


@settings(max_examples=200)
@given(
    verdicts=st.lists(
        st.builds(Verdict, TEXTS, st.sampled_from(["SUCCESS", "FAILURE", "MISSING"]), st.integers(0, 3), TEXTS)
    ),
    faults=st.lists(
        st.builds(
            FaultRecord, st.sampled_from(["kill", "power-loss", "new one", "duplicate", "eio"]), TEXTS, TEXTS,
            st.booleans(), st.booleans(), st.none() | st.floats(0, 9), st.none(), st.none() | st.integers(0, 99),
            st.sampled_from(["", "before", "inside", "after"]), TEXTS,
        ),
        max_size=4,
    ),
    findings=st.lists(st.builds(Finding, st.sampled_from(["ran", "exits"]), st.sampled_from(ExitCode), TEXTS)),
    code=st.sampled_from(ExitCode),
    text=TEXTS,
)  # fmt: skip
def test_whatever_is_in_a_report_its_sentence_is_one_harmless_line(
    verdicts: list[Verdict], faults: list[FaultRecord], findings: list[Finding], code: ExitCode, text: str
) -> None:
    events = whole()[:-3]
    for i, fault in enumerate(faults):
        events += [FaultFired(9.0, i, fault.trigger, detail=text), LogLine(9.1, W2, 0, text)]
    made = report(
        None, None, code, verdicts=tuple(verdicts), faults=tuple(faults), findings=tuple(findings), scenario=text
    )
    told = said(made, events, whole())
    assert told
    assert "\n" not in told
    assert "\x1b" not in told
    assert "\u202e" not in told
