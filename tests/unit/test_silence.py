"""How long the programs of a control run were silent: waits of chaoskit itself do not count."""

import pytest

from chaoskit.engine.assess import longest_silence_s
from chaoskit.model.events import AnyEvent, LogLine, ProgramExited, ProgramStarted, Ready, RunEnded, RunStarted
from chaoskit.model.plan import Plan
from chaoskit.model.scenario import Program, Scenario, Verifier

SCENARIO = Scenario(
    "s", {"w": Program(("w",)), "verifier": Program(("v",))}, ("w",), Verifier("verifier", ("a",), command=("v",))
)
START = RunStarted(0.0, "0", SCENARIO, Plan(0), "local", "2026-01-01T00:00:00Z")


def silence_s(*events: AnyEvent) -> float:
    return longest_silence_s([START, Ready(0.1), *events])


@pytest.mark.parametrize(
    "waits",
    [
        (LogLine(0.3, "w", 0, "x"), ProgramStarted(9.3, "verifier", 0, 7), RunEnded(9.4, "complete")),
        (LogLine(0.3, "w", 0, "x"), ProgramExited(9.3, "w", 0, 0, stopping=True), RunEnded(9.4, "complete", "", 9.0)),
        (LogLine(0.3, "w", 0, "x"), LogLine(9.31, "w", 0, "stopping"), RunEnded(9.4, "complete", "", 9.0)),
        (LogLine(0.3, "w", 0, "x"), RunEnded(9.4, "quiet", "", 9.0)),
    ],
)
def test_waiting_for_quiet_is_no_silence_of_a_program(waits: tuple[AnyEvent, ...]) -> None:
    assert silence_s(*waits) == pytest.approx(0.2)


def test_silence_in_the_middle_counts() -> None:
    assert silence_s(LogLine(4.1, "w", 0, "x"), RunEnded(4.2, "complete")) == pytest.approx(4.0)
