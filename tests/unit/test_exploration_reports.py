"""The report of an exploration in every format: what was not survived must show, and be harmless."""

import xml.etree.ElementTree as ElementTree

from rich.console import Console

from chaoskit.model.run import Coverage, Failed, Points, Report
from chaoskit.model.verdict import Verdict
from chaoskit.report import junit, markdown, terminal

PLAN = ["kill worker-2 at after write:a.csv#1 of life 0"]
EVIL = "\x1b[31m<script>alert(1)</script>"


def report(failures: int) -> Report:
    bad = tuple(Failed(PLAN, (Verdict(EVIL, "MISSING"),), "chaoskit replay x", "3 of 3") for _ in range(failures))
    return Report(
        chaoskit="0.1.0",
        scenario="s",
        runtime="local",
        seed=0,
        parameters={},
        result="fail" if failures else "pass",
        exit_code=1 if failures else 0,
        started="2026-11-21T19:00:00Z",
        duration_s=1.0,
        verdicts=(Verdict("CLI1", "SUCCESS"),),
        faults=(),
        restarts={},
        replay="chaoskit replay x",
        run_dir="x",
        points=Points(10, 10, 10 - failures, 4),
        coverage=(Coverage("write", "a.csv", 2, 8, 8 - failures), Coverage("fsync", "a.csv", 1, 2, 2)),
        failures=bad,
    )


def printed(made: Report) -> str:
    console = Console(record=True, width=200, file=None)
    with console.capture() as captured:
        console.print(terminal.render(made))
        console.print(terminal.headline(made))
    return captured.get()


def test_junit_has_a_failure_for_each_that_was_not_survived() -> None:
    suite = ElementTree.fromstring(junit.render(report(2)).encode())[0]
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    assert next(case.get("name") for case in suite.iter("testcase")) == "fsync:a.csv (2 experiments)"


def test_junit_of_a_green_exploration_has_no_failure() -> None:
    suite = ElementTree.fromstring(junit.render(report(0)).encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")


def test_markdown_and_terminal_show_figures_and_failures() -> None:
    for text in (markdown.render(report(1)), printed(report(1))):
        assert "10" in text and "9" in text and "chaoskit replay x" in text
        assert "\x1b[31m" not in text and "3 of 3" in text
    assert "<script>" not in markdown.render(report(1))


def test_thousands_of_failures_stay_small() -> None:
    assert len(markdown.render(report(5000))) < 1 << 20
    assert junit.render(report(5000)).count("<failure") == 1000
