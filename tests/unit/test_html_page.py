"""report.html as a document: nothing of a run is markup, nothing is loaded, the policy names all of it, it is small."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any, get_args

import pytest
from msgspec import structs

from chaoskit.model.events import (
    AnyEvent,
    BrokerState,
    Call,
    EnvironmentLost,
    FaultFailed,
    FaultFired,
    FileLater,
    Flag,
    LogLine,
    LogsCut,
    Message,
    NetworkState,
    ProgramExited,
    ProgramStarted,
    Ready,
    RunEnded,
    RunStarted,
)
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.run import Coverage, Failed, Points, Report, Spot
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtCall
from chaoskit.model.verdict import FaultRecord, Finding, Verdict
from chaoskit.report import html
from chaoskit.report.html import crash_map, room

POINT = "w/0/write:a.csv#1@3"
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>&amp;\x1b[2J\u202e\u2028]]>'\"`"


def journal(text: str = "plain", lines: int = 1) -> list[AnyEvent]:
    """Every type of event once, and so many log lines."""
    scenario = Scenario("s", {"w": Program(("x",)), "v": Program(("x",))}, ("w",), Verifier("v", ("CLI1",)))
    plan = Plan(0, (Step("kill", "w", AtCall("write", "a.csv", 1, "inside", 3)),))
    head: list[AnyEvent] = [
        RunStarted(0.0, "0", scenario, plan, "local", "now"),
        ProgramStarted(0.1, "w", 0, 1),
        ProgramStarted(0.1, "v", 0, 2),
        Ready(0.2),
        Message(0.3, "w", "published", "q", 1, text, 3),
        Message(0.31, "v", "delivered", "q", 1, text, 3, True),
        Message(0.32, "chaoskit", "published", "q", 1, text, 3, False, True),
        Call(0.33, "w", 0, "write", text, 1, 5, -5),
        FaultFired(0.4, 0, POINT, 3, 13, b"0123456789a,1"),
        ProgramExited(0.41, "w", 0, -9, True),
        ProgramStarted(0.5, "w", 1, 3),
        FileLater(0.51, 0, 0, 10, b"0123456789"),
        FileLater(0.9, 0, 0, None, b"", True),
        Flag(0.6, "w", text),
        LogsCut(0.6, "w", 9),
        FaultFailed(0.6, 0, text),
        EnvironmentLost(0.6, "broker", text),
        BrokerState(0.6, False, {text: 3}),
        NetworkState(0.6, "w", False),
    ]
    logs: list[AnyEvent] = [LogLine(0.7, "w", 1, text) for _ in range(lines)]
    return [*head, *logs, LogLine(0.8, "v", 0, "FAILURE [CLI1] - no"), RunEnded(1.0, "quiet", text, 0.5)]


def report(text: str = "plain", **changes: Any) -> Report:
    fields: dict[str, Any] = {
        "chaoskit": "0.1.0",
        "scenario": text,
        "runtime": text,
        "seed": 7,
        "parameters": {"A": text},
        "result": "fail",
        "exit_code": 1,
        "started": text,
        "duration_s": 1.0,
        "verdicts": (Verdict(text, "FAILURE", 1, text),),
        "faults": (FaultRecord("kill", "w", POINT, True, True, 0.4, 0.1, 3, "inside", text),),
        "findings": (Finding("exits", ExitCode.OK, text),),
        "restarts": {"w": 1},
        "replay": text,
        "run_dir": text,
        "sentence": text,
    }
    return Report(**{**fields, **changes})


def exploration(text: str = "plain", **changes: Any) -> Report:
    failed = Failed(
        [text], (Verdict(text, "MISSING", 0, text),), text, "3 of 3", (text,), "w/0/write:a#1", "experiments/4"
    )
    rows = (
        Coverage("write", "a", 2, 6, 5, (Spot("w/0/write:a#1", 3, 2), Spot("w/0/write:a#2", 3, 3))),
        Coverage("fsync", text, 1, 2, 2, (Spot("w/0/fsync:b#1", 2, 2),)),
    )
    return report(text, faults=(), points=Points(9, 8, 7, 3), coverage=rows, failures=(failed,), **changes)


class Parts(HTMLParser):
    """The scripts and styles of a page, its elements, and everything in it that could lead elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self.elements: list[str] = []
        self.links: list[str] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.policy = ""
        self.data = ""
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append(tag)
        self.links += [str(values[name]) for name in ("src", "href", "srcset", "action", "data") if name in values]
        assert not any(name.startswith("on") or name == "style" for name in values), (
            "handlers and styles stand in files"
        )
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(values["content"])
        self._open = "data" if values.get("type") == "application/json" else tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "data":
            self.data += data
        elif self._open in self.inline:
            self.inline[self._open].append(data)


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("text", ["plain", HOSTILE], ids=["plain", "hostile"])
def test_a_page_has_the_same_elements_whatever_was_in_the_run(text: str) -> None:
    for made in (report, exploration):
        assert Parts(html.render(made(text), journal(text))).elements == Parts(html.render(made(), journal())).elements


def test_hostile_text_comes_back_as_the_harmless_text_that_it_was() -> None:
    page = html.render(report(HOSTILE), journal(HOSTILE))
    data = json.loads(Parts(page).data)
    shown = data["sentence"]
    assert shown.startswith("</script><script>alert(1)</script><!--<img")
    assert "\\x1b[2J\\u202e\\u2028" in shown
    for character in ("\x1b", "\u202e", "\u2028", "\x00"):
        assert character not in page
    assert page.count("<script") == 3
    assert "onerror=alert" not in page.replace("\\u003cimg src=x onerror=alert", "")


def test_nothing_is_loaded_from_anywhere() -> None:
    for link in Parts(html.render(exploration(), journal())).links:
        assert link.startswith(("#", "data:,"))


def test_the_policy_lets_run_what_stands_in_the_page_and_nothing_else() -> None:
    parts = Parts(html.render(report(), journal()))
    rules = dict(rule.strip().split(" ", 1) for rule in parts.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [digest(script) for script in parts.inline["script"]]
    assert rules["style-src"].split() == [digest(style) for style in parts.inline["style"]]
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in parts.policy


def test_our_scripts_make_no_markup_from_text() -> None:
    ours = Parts(html.render(report(), journal())).inline["script"][-1]
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\(|XMLHttpRequest|import\("
    )
    assert re.search(forbidden, ours) is None


def test_the_library_is_the_one_that_its_readme_names_with_its_licences() -> None:
    vendor = files("chaoskit.report.html") / "vendor"
    bundle = vendor.joinpath("d3.min.js").read_bytes()
    readme = vendor.joinpath("README.md").read_text()
    assert hashlib.sha256(bundle).hexdigest() in readme
    versions = json.loads(vendor.joinpath("package.json").read_text())["dependencies"]
    for name in ("d3-scale", "d3-selection", "d3-zoom"):
        assert f"{name} {versions[name]}" in readme
    library = Parts(html.render(report(), journal())).inline["script"][0]
    assert "Permission to use, copy, modify, and/or distribute" in library
    assert "Redistribution and use in source and binary forms" in library
    assert len(bundle) < 100_000


def test_every_kind_of_event_is_on_the_timeline_in_the_order_of_time() -> None:
    timeline = json.loads(Parts(html.render(report(), journal())).data)["timeline"]
    rows = timeline["rows"]
    assert {row[1] for row in rows} == {"start", "exit", "note", "message", "call", "fault", "log", "verdict"}
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert [lane["name"] for lane in timeline["lanes"]] == ["w", "q", "v"]
    assert timeline["left_out"] == 0
    assert all(row[2] is None or row[2] < 3 for row in rows)


def test_no_type_of_event_is_forgotten() -> None:
    made = {type(event) for event in journal()}
    assert made == set(get_args(AnyEvent)), "a new type of event needs a row on the timeline, and a line in journal()"
    rows = json.loads(Parts(html.render(report(), journal())).data)["timeline"]["rows"]
    assert len(rows) == len([event for event in journal() if not isinstance(event, RunStarted | FileLater)])


def test_faults_that_recur_are_told_each_by_itself() -> None:
    events = journal()
    again = [
        e if not isinstance(e, FaultFired) else FaultFired(0.4, 0, "w 0.4 s after ready", target="w") for e in events
    ]
    again.insert(-2, FaultFired(0.75, 0, "w 0.75 s after ready", target="v"))
    first = FaultRecord("kill", "w", "w 0.4 s after ready", False, True, 0.4)
    second = FaultRecord("kill", "v", "w 0.75 s after ready", False, True, 0.75)
    data = json.loads(Parts(html.render(report(faults=(first, second)), again)).data)
    rows = [row for row in data["timeline"]["rows"] if row[1] == "fault"]
    lanes = [data["timeline"]["lanes"][row[2]]["name"] for row in rows]
    assert [(row[0], row[6], lane) for row, lane in zip(rows, lanes, strict=True)] == [(0.4, 0, "w"), (0.75, 1, "v")]
    assert [fault["words"].partition(" was killed")[0] for fault in data["faults"]] == ["w", "v"]


def test_an_exit_code_that_judges_is_a_verdict() -> None:
    events = journal()
    start = events[0]
    assert isinstance(start, RunStarted)
    judge = structs.replace(start.scenario.verifier, exit_code=True)
    scenario = structs.replace(start.scenario, verifier=judge)
    events = [structs.replace(start, scenario=scenario), *events[1:-1], ProgramExited(0.95, "v", 0, 3), events[-1]]
    rows = json.loads(Parts(html.render(report(), events)).data)["timeline"]["rows"]
    verdicts = [row for row in rows if row[1] == "verdict"]
    assert [(row[3], row[4]) for row in verdicts] == [("FAILURE", "FAILURE: the verifier ended with code 3")]


def test_a_file_has_its_bytes_at_the_kill_and_later() -> None:
    (found,) = json.loads(Parts(html.render(report(), journal())).data)["files"]
    assert (found["path"], found["program"], found["offset"]) == ("a.csv", "w", 0)
    first, changed, ended = found["moments"]
    assert bytes.fromhex(first["hex"]) == b"0123456789a,1"
    assert first["torn"] == 3
    assert (changed["size"], bytes.fromhex(changed["hex"])) == (10, b"0123456789")
    assert (ended["size"], ended["hex"]) == (None, "")


def test_a_long_journal_keeps_what_matters_and_what_is_near_the_fault_and_says_what_it_left_out() -> None:
    events = journal("x" * 4000, lines=60_000)
    page = html.render(report(), events)
    assert len(page.encode()) < 5_000_000
    timeline = json.loads(Parts(page).data)["timeline"]
    kinds = [row[1] for row in timeline["rows"]]
    assert timeline["left_out"] == len(events) - 3 - len(kinds)
    assert timeline["left_out"] > 40_000
    for kind in ("start", "exit", "fault", "verdict", "note", "call", "message"):
        assert kind in kinds


@pytest.mark.parametrize("text", ["<" * 4000, "\u202e" * 4000, "\U0001f600" * 4000, "\\" * 4000])
def test_no_text_makes_a_page_too_long(text: str) -> None:
    page = html.render(report(text), journal(text, lines=9_000))
    assert len(page.encode()) < 5_000_000


def test_room_prefers_rows_near_a_fault() -> None:
    rows: list[list[Any]] = [[i, "log", 0, "", "", 0, 0, 0, 0] for i in range(room.MOST_ROWS + 1000)]
    rows[500][1] = "fault"
    kept = [row[0] for row in room.within(rows)]
    assert len(kept) == room.MOST_ROWS
    assert kept == list(range(room.MOST_ROWS))


def test_the_map_has_a_cell_for_each_file_and_operation_and_leads_to_the_runs() -> None:
    found = json.loads(Parts(html.render(exploration(), journal())).data)["map"]
    assert found["ops"] == ["write", "fsync"]
    assert [row["path"] for row in found["rows"]] == ["a", "plain"]
    write, nothing = found["rows"][0]["cells"]
    assert (write["points"], write["run"], write["survived"]) == (2, 6, 5)
    assert [spot[0] for spot in write["spots"]] == ["w/0/write:a#1", "w/0/write:a#2"]
    assert nothing is None
    assert found["worst"] == "w/0/write:a#1"
    assert [failure["link"] for failure in found["failures"]] == ["experiments/4/report.html"]


@pytest.mark.parametrize(
    "directory", ["", "../x", "/etc", "experiments/../..", "javascript:alert(1)", "experiments/a/b"]
)
def test_only_a_run_of_the_exploration_is_linked(directory: str) -> None:
    assert crash_map.link(directory) == ""


def test_survived_points_are_left_out_of_a_huge_map_and_failures_are_not() -> None:
    spots = tuple(Spot(f"w/0/write:a#{n}", 3, 3 if n % 1000 else 2) for n in range(9000))
    rows = (Coverage("write", "a", 9000, 27000, 26991, spots),)
    failed = tuple(Failed([], (), "x", "3 of 3", spot=f"w/0/write:a#{n}000") for n in range(9))
    made = report(faults=(), points=Points(1, 1, 1), coverage=rows, failures=failed)
    found = json.loads(Parts(html.render(made, journal())).data)["map"]
    assert len(found["rows"][0]["cells"][0]["spots"]) == 9
    assert found["spots_left_out"] == 9000 - 9


def test_a_report_without_a_journal_still_has_its_verdict() -> None:
    data = json.loads(Parts(html.render(report(), ())).data)
    assert data["timeline"]["rows"] == []
    assert data["sentence"] == "plain"
