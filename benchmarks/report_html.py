"""How long report.html takes to be made and to open, and how big it is, for a run of 100 events and of 10,000.

Both are opened in headless Chromium from a file, several times in turn; what counts is the time from the start of the
navigation to the second frame after the page's script has run, when everything has been drawn. The ratio of the two
says what ten thousand events cost beyond the browser itself. Exit code 1 where the long one takes two seconds or more,
or 5 MB.

    python benchmarks/report_html.py [--events 10000] [--times 5]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

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
from chaoskit.model.plan import Plan, Step
from chaoskit.model.run import Report
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtCall
from chaoskit.model.verdict import FaultRecord, Verdict
from chaoskit.report import html

LIMIT_S, LIMIT_BYTES = 2.0, 5_000_000
FEW = 100
CHROMIUM = Path("/usr/bin/chromium")
W1, W2, W3 = "test-runner", "worker-2", "worker-3"
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() / 1000))))"


def journal(count: int, kills: int = 10) -> list[AnyEvent]:
    """A run of about so many events, as the bundled pipelines make them, with kills spread over it."""
    programs = {W1: Program(("x",)), W2: Program(("x",)), W3: Program(("x",))}
    scenario = Scenario("synthetic", programs, (W2,), Verifier(W3, 1), parameters={"EVENTS": count})
    steps = tuple(Step("kill", W2, AtCall("write", f"metadata/CLI{n}.csv", 1, "inside", 7)) for n in range(kills))
    events: list[AnyEvent] = [RunStarted(0.0, "0", scenario, Plan(1, steps), "local", "2026-11-21T19:00:00Z")]
    events += [ProgramStarted(0.01, program, 0, 100) for program in programs]
    events.append(Ready(0.02))
    every, life = max(1, (count - 20) // 9 // kills), 0
    for n in range((count - 20) // 9):
        events += chunk(n, life)
        if n % every == every // 2 and life < kills:
            events += killed(n, life)
            life += 1
    return [*events, RunEnded(events[-1].t_s + 0.1, "complete")]


def chunk(n: int, life: int) -> Iterator[AnyEvent]:
    """One message on its way: nine events."""
    t, path, name = 0.1 + n / 200, f"metadata/CLI{n % 50}.csv", f"CLI{n % 50}{n:08}"
    yield Message(t, W1, "published", "queue-1-2", n + 1, name, 79)
    yield Message(t + 0.0002, W2, "delivered", "queue-1-2", n + 1, name, 79)
    yield Call(t + 0.0005, W2, life, "write", path, n // 50 + 1, 18, 18)
    yield Call(t + 0.0007, W2, life, "fsync", path, n // 50 + 1)
    yield LogLine(t + 0.0008, W2, life, f"Worker 2: Processing chunk {n} for client CLI{n % 50}")
    yield LogLine(t + 0.0009, W2, life, f"Worker 2: Client CLI{n % 50} not ready yet ({n}/10000 chunks, sum: {10 * n})")
    yield Call(t + 0.001, W2, life, "send", "broker", n + 1, 21)
    yield Message(t + 0.0012, W2, "acked", "queue-1-2", n + 1, name, 79)
    yield LogLine(t + 0.0014, W3, 0, f"Worker 3: SUCCESS [{name}] - Expected: 60, Received: 60")


def killed(n: int, life: int) -> Iterator[AnyEvent]:
    t, tail = 0.1 + n / 200 + 0.002, bytes(range(48, 58)) * 25
    yield FaultFired(t, life, f"{W2}/{life}/write:metadata/CLI{life}.csv#1@7", 7, 1000, tail)
    yield ProgramExited(t + 0.0002, W2, life, -9, True)
    yield ProgramStarted(t + 0.001, W2, life + 1, 200 + life, 0.0008)


def report(events: list[AnyEvent]) -> Report:
    faults = [e for e in events if isinstance(e, FaultFired)]
    return Report(
        chaoskit="0",
        scenario="synthetic",
        runtime="local",
        seed=1,
        parameters={"EVENTS": len(events)},
        result="fail",
        exit_code=1,
        started="2026-11-21T19:00:00Z",
        duration_s=events[-1].t_s,
        verdicts=(Verdict("CLI1", "MISSING", 0, "no verdict line came"),),
        faults=tuple(FaultRecord("kill", W2, f.point, True, True, f.t_s, 0.001, 7, "inside") for f in faults),
        restarts={W2: len(faults)},
        replay="chaoskit replay .chaoskit/runs/synthetic",
        run_dir=".chaoskit/runs/synthetic",
        sentence="CLI1 got no result: worker-2 was killed 10 times",
    )


def opened_s(browser: Browser, path: Path) -> float:
    """Seconds from the start of the navigation until the page is drawn."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    try:
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("#moment-what:not(:empty)")
        return float(page.evaluate(DRAWN))
    finally:
        page.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    if not CHROMIUM.exists():
        print(f"{CHROMIUM} is not there: apt-get install chromium", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        pages, made_s = {}, {}
        for count in (FEW, options.events):
            events = journal(count, kills=10 if count > 1000 else 2)
            began = time.perf_counter()
            page = html.render(report(events), events, events)
            made_s[count] = time.perf_counter() - began
            pages[count] = Path(folder) / f"{count}.html"
            pages[count].write_text(page, encoding="utf-8")
        opened_s(browser, pages[FEW])  # The first tab of a browser pays for its start.
        times = {count: [opened_s(browser, path) for _ in range(options.times)] for count, path in pages.items()}
        browser.close()
        return show(pages, made_s, times)


def show(pages: dict[int, Path], made_s: dict[int, float], times: dict[int, list[float]]) -> int:
    print("| events | made in | size | opens in (median) | slowest |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for count, path in pages.items():
        size = path.stat().st_size
        middle = statistics.median(times[count])
        print(
            f"| {count} | {made_s[count]:.3f} s | {size / 1000:.0f} kB | {middle:.3f} s | {max(times[count]):.3f} s |"
        )
    many = max(pages)
    ratio = statistics.median(times[many]) / statistics.median(times[FEW])
    print(f"\n{many} events open in {ratio:.2f} times the time of {FEW}")
    good = statistics.median(times[many]) < LIMIT_S and pages[many].stat().st_size < LIMIT_BYTES
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
