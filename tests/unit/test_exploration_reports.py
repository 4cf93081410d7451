"""The report of an exploration in every format: what was not survived must show, and be harmless."""

import xml.etree.ElementTree as ElementTree

from junitparser import JUnitXml
from rich.console import Console

from chaoskit.model.run import Coverage, Failed, Points, Report, Spot
from chaoskit.model.verdict import Verdict
from chaoskit.report import junit, markdown, terminal

PLAN = ["kill worker-2 at after write:a.csv#1 of life 0"]
EVIL = "\x1b[31m<script>alert(1)</script>"


def failed(spot: str, plan: list[str] = PLAN) -> Failed:
    return Failed(plan, (Verdict(EVIL, "MISSING"),), "chaoskit replay x", "3 of 3", spot=spot)


def report(failures: int, spots: int = 2) -> Report:
    """So many failures at the first of so many points of write:a.csv; one point of fsync:a.csv was survived."""
    bad = tuple(failed("w/0/write:a.csv#0") for _ in range(failures))
    at_write = [Spot("w/0/write:a.csv#0", 8, 8 - min(failures, 8))]
    at_write += [Spot(f"w/0/write:a.csv#{n}", 3, 3) for n in range(1, spots)]
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
        coverage=(
            Coverage("write", "a.csv", spots, 8, 8 - failures, tuple(at_write)),
            Coverage("fsync", "a.csv", 1, 2, 2, (Spot("w/0/fsync:a.csv#1", 2, 2),)),
        ),
        failures=bad,
    )


def printed(made: Report) -> str:
    console = Console(record=True, width=200, file=None)
    with console.capture() as captured:
        console.print(terminal.render(made))
        console.print(terminal.headline(made))
    return captured.get()


def test_junit_has_one_case_a_crash_point() -> None:
    suite = ElementTree.fromstring(junit.render(report(2)).encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names == ["w/0/write:a.csv#0", "w/0/write:a.csv#1 (3 experiments)", "w/0/fsync:a.csv#1 (2 experiments)"]
    failure = next(suite.iter("failure"))
    assert (failure.text or "").count("chaoskit replay x") == 2, "both experiments at that point are told"


def test_junit_of_a_green_exploration_has_no_failure() -> None:
    suite = ElementTree.fromstring(junit.render(report(0)).encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "0")


def test_junit_leaves_out_survived_points_with_a_note_and_never_a_failure() -> None:
    many = report(0, spots=5000)
    bad = tuple(failed(f"w/0/write:b.csv#{n}") for n in range(3000))
    made = type(many)(**{f: getattr(many, f) for f in many.__struct_fields__} | {"failures": bad})
    (suite,) = JUnitXml.fromstring(junit.render(made).encode())
    assert suite.failures == 3000
    assert suite.skipped == 1
    assert suite.tests == 3000 + 2000 + 1
    assert "(3001 more crash points that were survived)" in [case.name for case in suite]


def test_junit_of_a_report_of_an_older_version_has_all_its_failures() -> None:
    made = report(0)
    old = (failed("", ["kill a"]), failed("", ["kill b"]))
    coverage = tuple(Coverage(row.op, row.path, row.points, row.run, row.survived) for row in made.coverage)
    changed = {f: getattr(made, f) for f in made.__struct_fields__} | {"failures": old, "coverage": coverage}
    (suite,) = JUnitXml.fromstring(junit.render(type(made)(**changed)).encode())
    assert [case.name for case in suite] == [
        "kill a", "kill b", "write:a.csv (8 experiments)", "fsync:a.csv (2 experiments)",
    ]  # fmt: skip


def test_markdown_and_terminal_show_figures_and_failures() -> None:
    for text in (markdown.render(report(1)), printed(report(1))):
        assert "10" in text and "9" in text and "chaoskit replay x" in text
        assert "\x1b[31m" not in text and "3 of 3" in text
    assert "<script>" not in markdown.render(report(1))


def test_the_first_annotations_name_the_failures() -> None:
    lines = list(markdown.annotations(report(20)))
    assert len(lines) == 10
    assert lines[0] == "::error title=chaoskit s::kill worker-2 at after write:a.csv#1 of life 0"
    assert list(markdown.annotations(report(0))) == []


def test_thousands_of_failures_stay_small() -> None:
    assert len(markdown.render(report(5000)).encode()) < 1 << 20
