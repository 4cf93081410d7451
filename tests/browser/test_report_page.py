"""Reports of real runs in a real browser: what they say, and that every control works with the keyboard alone."""

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
    ProgramStarted,
    RunEnded,
    RunStarted,
)
from chaoskit.model.plan import Plan, Step
from chaoskit.model.run import Report
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtCall
from chaoskit.model.verdict import FaultRecord
from chaoskit.report import html

Open = Callable[..., Any]


def moment(tab: Any) -> str:
    return str(tab.text("#moment-what"))


def test_the_verdict_stands_at_the_top_in_one_sentence(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    assert tab.page.title() == "FAIL no-torn-tail-repair - chaoskit"
    assert tab.text("h1") == (
        "CLI1 got a wrong result (Expected: 60, Received: 42): worker-2 was killed in the middle of the second write "
        "to metadata/CLI1.csv, after 16 of 18 bytes."
    )
    assert "✗ FAIL" in tab.text("#result")
    assert tab.text("#replay").startswith("chaoskit replay .chaoskit/runs/")
    assert "✗ FAILURE" in tab.text("#verdicts-table")
    assert "✓ SUCCESS" in tab.text("#verdicts-table")
    assert "inside worker-2/0/write:metadata/CLI1.csv#2@16" in tab.text("#faults-table")


def test_the_command_can_be_copied_with_the_keyboard(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.page.focus("#copy-replay")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_function("document.getElementById('copy-replay').textContent === 'Copied'")
    assert tab.page.evaluate("navigator.clipboard.readText()") == tab.text("#replay")
    assert tab.text("#announce") == "The command is copied."


def test_the_file_is_shown_before_and_after_with_its_torn_end(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    dumps = tab.page.locator(".dump")
    assert dumps.count() == 3
    before, after, end = (dumps.nth(n).inner_text() for n in range(3))
    assert "When it happened" in before
    assert "60 bytes" in before
    assert "After its first change in a later life" in after
    assert "the file is gone" in end
    assert tab.page.locator(".dump").nth(0).locator("i.torn").count() == 2 * 16, "as bytes and as text"
    assert tab.page.locator("i.last").all_inner_texts() == ["32", "2"]
    changed = "".join(tab.page.locator(".dump").nth(1).locator("td:last-child i.changed").all_inner_texts())
    assert changed == "CLI100000003,3,30↵", "the next row was written right behind the torn one"


def test_the_page_opens_at_the_fault_with_the_log_lines_beside_it(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    assert moment(tab).startswith("worker-2: fault 1: worker-2 was killed in the middle")
    chosen = tab.page.locator("#beside-table tr.chosen")
    assert chosen.count() == 1
    assert chosen.get_attribute("aria-current") == "true"
    assert "Processing chunk 1 for client CLI1" in tab.text("#beside-table")
    inside = "([t, s]) => { const a = t.getBoundingClientRect(), b = s.getBoundingClientRect(); "
    inside += "return a.top >= b.top && a.bottom <= b.bottom; }"
    handles = [chosen.element_handle(), tab.page.locator("#beside-scroll").element_handle()]
    assert tab.page.evaluate(inside, handles)


def test_arrow_keys_go_from_event_to_event_and_the_lines_follow(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    tab.page.focus("#timeline-canvas")
    seen = []
    for key in ("Home", "ArrowRight", "ArrowLeft", "End", "PageUp", "PageDown", "ArrowDown", "ArrowUp"):
        tab.page.keyboard.press(key)
        seen.append(moment(tab))
    first, second, back, last, fault, same_fault, below, above = seen
    assert first == back != second
    assert "start of life 0" in first
    assert last.startswith("run: end of the run")
    assert fault == same_fault
    assert "fault 1" in fault
    assert below.startswith("queue-2-3:")
    assert above.startswith("worker-2:")


def test_zooming_and_panning_work_with_keys_and_buttons(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    image = "document.getElementById('timeline-canvas').toDataURL()"

    def changes(act: Callable[[], object]) -> bool:
        before = tab.page.evaluate(image)
        act()
        tab.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return bool(tab.page.evaluate(image) != before)

    tab.page.focus("#timeline-canvas")
    for key in ("+", "+", "Shift+ArrowRight", "Shift+ArrowLeft", "-", "0"):
        assert changes(lambda key=key: tab.page.keyboard.press(key)), key
    for button in ("zoom-in", "zoom-out", "by-time", "by-order", "zoom-in", "zoom-all", "next-event", "previous-event"):
        tab.page.focus(f"#{button}")
        assert changes(lambda: tab.page.keyboard.press("Enter")), button
        assert tab.focused() == button, "the focus stays where it was"


def test_the_mouse_zooms_pans_and_chooses(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    tab.page.locator("#timeline-canvas").scroll_into_view_if_needed()
    box = tab.page.locator("#timeline-canvas").bounding_box()
    before = tab.page.evaluate("document.getElementById('timeline-canvas').toDataURL()")
    tab.page.mouse.move(box["x"] + 300, box["y"] + 200)
    tab.page.keyboard.down("Control")
    tab.page.mouse.wheel(0, -400)
    tab.page.keyboard.up("Control")
    tab.page.wait_for_function(
        "before => document.getElementById('timeline-canvas').toDataURL() !== before", arg=before
    )
    before = tab.page.evaluate("document.getElementById('timeline-canvas').toDataURL()")
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 150, box["y"] + 200, steps=4)
    tab.page.mouse.up()
    tab.page.wait_for_function(
        "before => document.getElementById('timeline-canvas').toDataURL() !== before", arg=before
    )
    dragged = moment(tab)
    assert "fault 1" in dragged, "a drag chooses nothing"
    tab.page.mouse.click(box["x"] + 40, box["y"] + 160)
    assert moment(tab) != dragged


def test_the_wheel_alone_scrolls_the_page(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    tab.page.locator("#timeline-canvas").scroll_into_view_if_needed()
    box = tab.page.locator("#timeline-canvas").bounding_box()
    tab.page.mouse.move(box["x"] + 300, box["y"] + 100)
    was = tab.page.evaluate("scrollY")
    tab.page.mouse.wheel(0, -200)
    tab.page.wait_for_function("was => scrollY < was", arg=was)


def test_two_fingers_zoom_on_a_touch_screen(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run, width=360, touch=True)
    tab.page.locator("#timeline-canvas").scroll_into_view_if_needed()
    box = tab.page.locator("#timeline-canvas").bounding_box()
    session = tab.page.context.new_cdp_session(tab.page)
    before = tab.page.evaluate("document.getElementById('timeline-canvas').toDataURL()")

    def fingers(kind: str, apart: int | None) -> None:
        points = [] if apart is None else [-apart, apart]
        middle = {"x": box["x"] + 160, "y": box["y"] + 60}
        touches = [{"x": middle["x"] + dx, "y": middle["y"], "id": i} for i, dx in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    fingers("touchStart", 20)
    for apart in (40, 60, 90):
        fingers("touchMove", apart)
    fingers("touchEnd", None)
    tab.page.wait_for_function(
        "before => document.getElementById('timeline-canvas').toDataURL() !== before", arg=before
    )


def test_the_lines_beside_can_be_filtered_walked_and_searched(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    page = tab.page
    assert "fsync" not in tab.text("#beside-table")
    page.focus("#everything")
    page.keyboard.press("Enter")
    assert "fsync metadata/CLI1.csv" in tab.text("#beside-table")
    page.focus("#only-logs")
    page.keyboard.press("Space")
    page.select_option("#beside-lane", label="worker-3")
    assert set(page.locator("#beside-table td.who").all_inner_texts()) == {"worker-3"}
    page.focus("#beside-scroll")
    page.keyboard.press("ArrowDown")
    assert "[CLI1]" in moment(tab)
    page.focus("#find")
    page.keyboard.type("failure [cli1]")
    page.keyboard.press("Enter")
    assert moment(tab) == "worker-3: Worker 3: FAILURE [CLI1] - Expected: 60, Received: 42"
    page.keyboard.press("Control+a")
    page.keyboard.type("no such words")
    page.keyboard.press("Enter")
    assert tab.text("#beside-note") == "Nothing in this run has that in it."


def test_a_fault_in_the_table_leads_to_its_moment(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    tab.page.focus("#timeline-canvas")
    tab.page.keyboard.press("Home")
    tab.page.focus("#faults-table button")
    tab.page.keyboard.press("Enter")
    assert "fault 1" in moment(tab)
    assert tab.focused() == "timeline-canvas"


def test_every_control_is_reached_with_tab_and_shows_it(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    outline = "(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2)"
    outline += "(getComputedStyle(document.activeElement))"
    for _ in range(60):
        if tab.page.evaluate("document.activeElement !== document.body"):
            assert tab.page.evaluate(outline), tab.focused()
        reached.add(tab.focused())
        tab.page.keyboard.press("Tab")
    controls = tab.page.evaluate(
        "[...document.querySelectorAll('button, a, select, input, canvas[tabindex]')]"
        ".filter(e => !e.disabled && e.checkVisibility()).map(e => e.id || `${e.tagName} ${e.textContent}`)"
    )
    assert set(controls) - reached == set()
    assert len(controls) > 15


def test_every_control_has_a_name(opened: Open, failed_run: Path, exploration: Path) -> None:
    for report in (failed_run, exploration):
        nameless = opened(report).page.evaluate(
            "[...document.querySelectorAll('button, a, select, input, canvas[role], section, [role=toolbar]')]"
            ".filter(e => e.checkVisibility() && !(e.ariaLabel || e.textContent.trim() || e.labels?.length"
            " || document.getElementById(e.getAttribute('aria-labelledby')))).map(e => e.outerHTML)"
        )
        assert nameless == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_colours_follow_the_system_and_the_button(opened: Open, failed_run: Path, dark: bool) -> None:
    tab = opened(failed_run, dark=dark)
    brightness = "(c => c[0] + c[1] + c[2])(getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    assert (tab.page.evaluate(brightness) < 384) == dark
    tab.page.focus("#theme")
    tab.page.keyboard.press("Enter")
    assert (tab.page.evaluate(brightness) < 384) != dark
    assert tab.page.locator("#theme").get_attribute("aria-pressed") == str(not dark).lower()


CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const back = (e) => { for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const texts = [...document.querySelectorAll("main *, header *")].filter((e) => e.checkVisibility()
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && !e.disabled);
  return texts.map((e) => {
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.tagName + "." + e.className + " " + e.textContent.slice(0, 40)];
  }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(opened: Open, failed_run: Path, exploration: Path, dark: bool) -> None:
    for report in (failed_run, exploration):
        assert opened(report, dark=dark).page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_is_wider_than_its_screen(opened: Open, failed_run: Path, exploration: Path, width: int) -> None:
    for report in (failed_run, exploration):
        tab = opened(report, width=width)
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_can_be_printed(opened: Open, failed_run: Path) -> None:
    tab = opened(failed_run)
    tab.page.emulate_media(media="print")
    assert not tab.page.locator(".tools").first.is_visible()
    assert tab.page.locator("h1").is_visible()
    assert tab.page.pdf().startswith(b"%PDF")


# --- explorations ---


def test_an_exploration_shows_the_map_of_its_crash_points(opened: Open, exploration: Path) -> None:
    tab = opened(exploration)
    assert "experiments were survived; " in tab.text("h1")
    assert tab.page.locator("#map-table thead th").all_inner_texts() == ["file", "create", "write"]
    rows = tab.page.locator("#map-table tbody th").all_inner_texts()
    assert rows == ["partitions/TEST-users-partition-001.csv", "state/layout.json.tmp"]
    assert set(tab.page.locator("#map-table .spot.good").all_inner_texts()) == {"✓"}
    bad = tab.page.locator("#map-table .spot.bad")
    assert bad.count() >= 1
    assert set(bad.all_inner_texts()) == {"✗"}, "not told by colour alone"
    assert "experiments not survived" in str(bad.first.get_attribute("aria-label"))


def test_a_cell_of_the_map_leads_to_the_report_of_its_run(opened: Open, exploration: Path) -> None:
    tab = opened(exploration)
    tab.page.locator("#map-table .spot.bad").first.focus()
    tab.page.keyboard.press("Enter")
    details = tab.text("#map-details")
    assert "kill worker-2 at" in details
    assert "chaoskit replay .chaoskit/runs/" in details
    assert "3 of 3 times" in details
    with tab.page.expect_navigation():
        tab.page.locator("#map-details a").first.press("Enter")
    assert tab.page.url.startswith("file:")
    assert "/experiments/" in tab.page.url
    assert "✗ FAIL" in tab.text("#result")
    assert "worker-2 was killed" in tab.text("h1")


def test_arrow_keys_walk_the_map_and_tab_passes_it_in_one_step(opened: Open, exploration: Path) -> None:
    tab = opened(exploration)
    assert tab.page.locator(".spot[tabindex='0']").count() == 1
    tab.page.locator(".spot[tabindex='0']").focus()
    tab.page.keyboard.press("Home")
    first = tab.page.evaluate("document.activeElement.dataset.name")
    tab.page.keyboard.press("ArrowRight")
    second = tab.page.evaluate("document.activeElement.dataset.name")
    assert first != second
    tab.page.keyboard.press("ArrowLeft")
    assert tab.page.evaluate("document.activeElement.dataset.name") == first
    assert tab.page.locator(".spot[tabindex='0']").count() == 1


# --- long runs ---


def long_journal(count: int) -> list[AnyEvent]:
    """A run of so many events, with a kill in the middle."""
    scenario = Scenario("long", {"w": Program(("x",))}, ("w",), Verifier("w", ("CLI1",)))
    plan = Plan(0, (Step("kill", "w", AtCall("write", "a.csv")),))
    events: list[AnyEvent] = [RunStarted(0.0, "0", scenario, plan, "local", "now"), ProgramStarted(0.0, "w", 0, 1)]
    for n in range(count // 4):
        t_s = 0.1 + n / 100
        events += [
            Message(t_s, "w", "delivered", "queue-1-2", n + 1, f"m{n}", 79),
            Call(t_s + 0.001, "w", 0, "write", "a.csv", n + 1, 18, 18),
            LogLine(t_s + 0.002, "w", 0, f"Processing message {n} of client CLI1"),
            Message(t_s + 0.003, "w", "acked", "queue-1-2", n + 1, f"m{n}", 79),
        ]
    middle = len(events) // 2
    fault = FaultFired(events[middle].t_s, 0, "w/0/write:a.csv#1", None, 3, b"abc")
    return [*events[:middle], fault, *events[middle:], RunEnded(events[-1].t_s, "complete")]


def long_report(events: list[AnyEvent]) -> Report:
    fault = next(event for event in events if isinstance(event, FaultFired))
    record = FaultRecord("kill", "w", fault.point, True, True, fault.t_s, None, None, "before")
    return Report("0", "long", "local", 1, {}, "fail", 1, "now", 1.0, (), (record,), {}, "again", "x", sentence="long")


@pytest.mark.soak
def test_ten_thousand_events_open_and_answer_keys(opened: Open, tmp_path: Path) -> None:
    events = long_journal(10_000)
    path = tmp_path / "report.html"
    path.write_text(html.render(long_report(events), events), encoding="utf-8")
    tab = opened(path)
    tab.page.focus("#timeline-canvas")
    tab.page.keyboard.press("0")
    for _ in range(50):
        tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("End")
    assert "end of the run" in moment(tab)
    assert "10003 of 10003" in tab.text("#moment-details")
    tab.page.focus("#find")
    tab.page.keyboard.type("message 1234 of")
    tab.page.keyboard.press("Enter")
    assert moment(tab) == "w: Processing message 1234 of client CLI1"
    assert tab.page.locator("#beside-table tr").count() <= 122
