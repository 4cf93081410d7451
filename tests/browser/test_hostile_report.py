"""Whatever a run prints, names or sends is text in the page: it runs nothing, asks for nothing and breaks nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.model.events import (
    AnyEvent,
    Call,
    FaultFired,
    LogLine,
    Message,
    ProgramExited,
    ProgramStarted,
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

Open = Callable[..., Any]
HOSTILE = [
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\"><svg onload=\"document.title = 'owned'\">",
    "<!-- <script> --!> ]]> {{constructor}} ${document.title = 'owned'} `",
    "\x1b[2J\x1b]0;owned\x07\x9b31m\x00\x08",
    "\u202egnp.exe \u2066\u200b\ufeff\u2028\u2029",
    "javascript:document.title='owned'",
    "__proto__",
    "constructor",
    "a" * 3000,
]


def hostile_report(text: str, exploration: bool) -> Report:
    failed = Failed([text], (Verdict(text, "MISSING", 0, text),), text, text, (text,), text, text, text)
    explored: dict[str, Any] = {
        "points": Points(1, 1, 0),
        "coverage": (Coverage(text, text, 1, 1, 0, (Spot(text, 1, 0),)),),
        "failures": (failed,),
    }
    return Report(
        chaoskit=text,
        scenario=text,
        runtime=text,
        seed=1,
        parameters={text: text},
        result="fail",
        exit_code=1,
        started=text,
        duration_s=1.0,
        verdicts=(Verdict(text, "FAILURE", 2, text),),
        faults=(FaultRecord(text, text, text, True, True, 0.2, 0.1, 3, "inside", text),),
        restarts={text: 1},
        replay=text,
        run_dir=text,
        findings=(Finding(text, ExitCode.FAILURE, text),),
        logs={text: [text]},
        sentence=text,
        **(explored if exploration else {}),
    )


def hostile_journal(text: str) -> list[AnyEvent]:
    scenario = Scenario(text, {text: Program((text,))}, (text,), Verifier(text, (text,)))
    plan = Plan(0, (Step(text, text, AtCall("write", text)),))
    return [
        RunStarted(0.0, text, scenario, plan, text, text),
        ProgramStarted(0.1, text, 0, 1),
        LogLine(0.11, text, 0, text),
        Message(0.12, text, text, text, 1, text, 1, True, True),
        Message(0.13, text, "published", text, 1, text, 1),
        Call(0.14, text, 0, text, text, 1, 1, -1),
        FaultFired(0.2, 0, f"{text}/0/write:{text}#1@3", 3, 9, text.encode(errors="replace")[:9], text),
        ProgramExited(0.3, text, 0, -9, True),
        RunEnded(0.4, "quiet", text),
    ]


@pytest.mark.parametrize("exploration", [False, True], ids=["run", "exploration"])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_only_text(opened: Open, tmp_path: Path, text: str, exploration: bool) -> None:
    path = tmp_path / "report.html"
    path.write_text(html.render(hostile_report(text, exploration), hostile_journal(text)), encoding="utf-8")
    tab = opened(path, width=360)
    page = tab.page
    page.focus("#timeline-canvas")
    for key in ("Home", "ArrowRight", "ArrowRight", "End", "PageUp"):
        page.keyboard.press(key)
    page.click("#everything")
    assert page.title() != "owned"
    assert page.locator("main img, main svg[onload], iframe, object, embed").count() == 0
    assert page.locator("script").count() == 3
    shown = page.evaluate("document.body.textContent")
    assert not any(
        character in shown.replace(page.text_content("#data") or "", "") for character in "\x1b\x00\u202e\u2066"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    links = page.eval_on_selector_all("a", "all => all.map(a => a.getAttribute('href'))")
    assert all(link.startswith("#") for link in links), links


def test_the_policy_refuses_what_the_page_does_not_contain(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html.render(hostile_report("x", False), hostile_journal("x")), encoding="utf-8")
    tab = opened(path)
    attempts = {
        "markup from text": "document.body.innerHTML = '<b>x</b>'",
        "a request": "fetch('data:,x')",
    }
    for name, attempt in attempts.items():
        refused = tab.page.evaluate(
            f"(async () => {{ try {{ await ({attempt}); return false; }} catch {{ return true; }} }})()"
        )
        assert refused, name
    image = "document.body.append(Object.assign(document.createElement('img'), {src: 'https://127.0.0.1:1/x'}))"
    with tab.page.expect_event("requestfailed") as failed:
        tab.page.evaluate(image)
    assert failed.value.failure == "csp", "refused by the policy, not by the network"
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
    tab.complaints.clear()
    tab.requests.clear()
