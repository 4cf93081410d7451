"""Reports: whatever a program printed, no format is broken by it, and each says what a person needs."""

import io
import json
import runpy
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml
from rich.console import Console

from chaoskit.cli import output as printed
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.run import Control, Report, from_json
from chaoskit.model.verdict import FaultRecord, Finding, Verdict
from chaoskit.report import junit, markdown, terminal
from chaoskit.report.clean import clean

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07 \x9b31m",
    "[bold red]x[/bold red] [/] [/nothing] [link=http://x]y",
    "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;]]>",
    "a|b|c\n| --- |\n# heading\r\n::error::injected",
    "`code` ``` *bold* _it_ [link](http://x) ![i](http://x) @someone #1",
    "\u202eesrever \u200b\u2066 \ufeff \ufffe \udcff \x00",
    "x" * 100_000,
]


def report(text: str = "plain", result: str = "fail", **changes: object) -> Report:
    fields: dict[str, object] = {
        "chaoskit": "0",
        "scenario": "stateful",
        "runtime": "local",
        "seed": 42,
        "parameters": {"NUM_CHUNKS": 3},
        "result": result,
        "exit_code": 1 if result == "fail" else 0,
        "started": "2026-01-01T00:00:00Z",
        "duration_s": 2.5,
        "verdicts": (Verdict(text, "FAILURE", 1, text), Verdict("CLI2", "SUCCESS", 1), Verdict("CLI3", "MISSING")),
        "faults": (
            FaultRecord("kill", text, text, True, True, 0.41, 0.12, 7, "inside", text),
            FaultRecord("pause", "worker-2", "1 s after the pipeline is ready", False, False, note=text),
        ),
        "restarts": {"worker-2": 1},
        "replay": "chaoskit replay .chaoskit/runs/x",
        "run_dir": ".chaoskit/runs/x",
        "control": Control("pass", 0.6, 31),
        "findings": (Finding("run-ended", ExitCode.FAILURE, text), Finding("exits", ExitCode.OK, text)),
        "logs": {"worker-2": [text] * 15, "worker-3": [text]},
    }
    return Report(**{**fields, **changes})  # type: ignore[arg-type]


def drawn(of: Report, width: int = 200, color: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=color, color_system="truecolor" if color else None)
    console.print(terminal.render(of))
    console.print(terminal.headline(of))
    return stream.getvalue()


def is_harmless(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs") or c in "\n\t" for c in text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_reaches_no_terminal(text: str) -> None:
    output = drawn(report(text))
    assert is_harmless(output)
    assert len(output) < 100_000
    assert "CLI3" in output
    assert "MISSING" in output


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_leaves_junit_whole_for_a_standard_parser(text: str) -> None:
    document = junit.render(report(text))
    (suite,) = list(JUnitXml.fromstring(document.encode()))
    assert (suite.tests, suite.failures, suite.errors) == (4, 3, 0)
    root = ET.fromstring(document)
    assert {element.tag for element in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "properties", "property", "failure", "error",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["plain", *HOSTILE], ids=range(1 + len(HOSTILE)))
def test_several_runs_are_a_suite_each_in_one_document_with_the_totals_of_all(text: str) -> None:
    good = report(verdicts=(Verdict("CLI1", "SUCCESS", 1),), findings=(), seed=6, scenario=text)
    document = junit.render_runs([report(text, seed=5, scenario=text), good])
    root = ET.fromstring(document)
    runpy.run_path(str(Path(__file__).with_name("test_junit_schema.py")))["check"](root)
    assert [suite.attrib["name"].rpartition(", ")[2] for suite in root] == ["seed 5", "seed 6"]
    assert [suite.attrib["time"] for suite in root] == ["2.5", "2.5"]
    totals = [root.attrib[name] for name in ("tests", "failures", "errors", "time")]
    assert totals == ["5", "3", "0", "5.0"]
    assert [suite.attrib["failures"] for suite in root] == ["3", "0"]
    named = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(set(named)) == len(named), "a CI server would show only the first of two cases of the same name"


def test_a_name_between_colons_is_no_emoji() -> None:
    for console in (printed.out, printed.err):
        with console.capture() as captured:
            console.print(":bug:")
        assert captured.get() == ":bug:\n"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_no_markup_in_markdown(text: str) -> None:
    output = markdown.render(report(text))
    assert is_harmless(output)
    assert len(output) < 20_000
    assert "<script" not in output
    assert "<img" not in output
    assert "](http" not in output
    rows = [line for line in output.splitlines() if line.startswith("|") and "FAILURE" in line]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 4


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_makes_one_annotation_a_verdict(text: str) -> None:
    lines = list(markdown.annotations(report(text)))
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("::error title=chaoskit stateful::")
        assert "\n" not in line
        assert "\r" not in line


@pytest.mark.parametrize("text", [*HOSTILE, "*_|`<&@" * 5_000])
def test_a_summary_stays_below_what_a_job_page_takes(text: str) -> None:
    findings = tuple(Finding(text, ExitCode.FAILURE, text) for _ in range(3_000))
    verdicts = tuple(Verdict(text, "FAILURE", 1, text) for _ in range(3_000))
    faults = tuple(FaultRecord(text, text, text, True, True, 0.41) for _ in range(3_000))
    output = markdown.render(report(text, findings=findings, verdicts=verdicts, faults=faults, sentence=text))
    assert len(output.encode()) < 1 << 19
    assert output.endswith("chaoskit replay .chaoskit/runs/x\n```\n"), "the command comes last, whatever was cut"
    assert is_harmless(output)


def test_addresses_in_a_summary_are_no_links() -> None:
    output = markdown.render(
        report("see https://evil.example/x and www.evil.example", sentence="at http://evil.example")
    )
    assert "https\\://evil" in output
    assert "www\\.evil" in output
    assert "http\\://evil" in output


def test_the_sentence_comes_first_in_every_text() -> None:
    made = report(sentence="CLI2 got no result: worker-2 was killed")
    assert "**CLI2 got no result: worker\\-2 was killed.**" in markdown.render(made).splitlines()[:3]
    assert next(markdown.annotations(made)).endswith("::CLI2 got no result: worker-2 was killed")
    assert "CLI2 got no result: worker-2 was killed." in drawn(made)
    assert "CLI2 got no result: worker-2 was killed" in junit.render(made)


def test_an_annotation_keeps_the_rules_of_workflow_commands() -> None:
    made = report("100% sure\n::error::x", scenario="a,b:c%d", sentence="")
    first = next(markdown.annotations(made))
    assert first.startswith("::error title=chaoskit a%2Cb%3Ac%25d::FAILURE [100%25 sure\\n::error::x]")


def test_findings_are_annotated_where_no_verdict_is_bad() -> None:
    lost = Finding("environment", ExitCode.ENVIRONMENT, "broker lost")
    made = report(verdicts=(), findings=(lost, Finding("note", ExitCode.OK, "x")), exit_code=3)
    assert list(markdown.annotations(made)) == ["::error title=chaoskit stateful::environment: broker lost"]
    unproved = Finding("faults-fired", ExitCode.INCONCLUSIVE, "never fired")
    made = report(verdicts=(), findings=(unproved,), exit_code=4)
    assert list(markdown.annotations(made)) == ["::warning title=chaoskit stateful::faults-fired: never fired"]
    assert list(markdown.annotations(report(verdicts=(), findings=()))) == []


@given(st.text())
def test_clean_text_is_one_short_line_without_control_characters(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= 400
    assert "\n" not in cleaned
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in cleaned if c != "\t")


def test_clean_leaves_ordinary_text_alone() -> None:
    for text in ("plain", "ünïcödé 漢字 🎉", "tab\tstays", "[x] <y> & `z`"):
        assert clean(text) == text
    assert clean("\x1b[31m") == "\\x1b[31m"


def test_json_comes_back_as_the_report_it_was() -> None:
    for text in HOSTILE[:5]:
        made = report(text)
        assert from_json(made.as_json()) == made


def test_json_has_the_fields_of_the_contract() -> None:
    data = json.loads(report(result="pass").as_json())
    assert data["schema"] == 1
    contract = (
        "chaoskit", "scenario", "runtime", "seed", "parameters", "result", "exit_code", "started", "duration_s",
        "control", "verdicts", "faults", "restarts", "replay",
    )  # fmt: skip
    assert set(contract) <= set(data)
    assert set(data["verdicts"][0]) >= {"id", "outcome", "lines", "detail"}
    assert set(data["faults"][0]) >= {
        "fault", "target", "trigger", "exact", "fired", "t_s", "restarted_after_s",
    }  # fmt: skip
    assert data["control"] == {"result": "pass", "duration_s": 0.6, "crash_points": 31}


def test_the_terminal_says_what_was_hurt_what_failed_and_the_last_lines() -> None:
    output = drawn(report("boom"))
    for words in ("inside boom", "0.41 s", "never", "7 bytes written", "FAILURE", "last lines of worker-2", "seed 42"):
        assert words in output
    assert "last lines" not in drawn(report("fine", result="pass"))


def test_colors_change_nothing_but_colors() -> None:
    output = drawn(report("[red]x[/red]"), color=True)
    assert "\x1b[" in output
    assert "[red]x[/red]" in output


def test_many_verdicts_are_cut_with_the_bad_ones_kept() -> None:
    many = (*(Verdict(f"OK{n}", "SUCCESS", 1) for n in range(5_000)), Verdict("LAST", "FAILURE", 1))
    made = report(verdicts=many)
    assert "LAST" in drawn(made)
    assert "more" in drawn(made)
    assert "LAST" in markdown.render(made)
    assert len(markdown.render(made)) < 200_000
    assert len(JUnitXml.fromstring(junit.render(made).encode())) == 1


@pytest.mark.parametrize("result", ["pass", "fail", "error", "inconclusive"])
def test_each_result_can_be_drawn_by_every_format(result: str) -> None:
    made = report(result=result)
    assert result.upper() in drawn(made)
    assert result in markdown.render(made)
    assert JUnitXml.fromstring(junit.render(made).encode())


def test_a_report_without_verdicts_and_faults_can_be_drawn() -> None:
    empty = report(verdicts=(), faults=(), findings=(), logs={}, control=None)
    assert "0 of 0 verdicts" in drawn(empty)
    assert markdown.render(empty)
    assert JUnitXml.fromstring(junit.render(empty).encode())
