"""Where the time of `chaoskit run stateful --kills 3` goes: the programs, their interpreters, or us.

One table for a control run and for a run with three kills: processor seconds of the programs (of which the start of
interpreters and their imports), of the broker, the proxies, the tap and the rest of chaoskit, and the seconds in which
chaoskit only waited. Shares of one run, so a slow machine changes little.

    python benchmarks/run_shares.py [--runs 5]
"""

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaoskit import bundled
from chaoskit.broker.server import EmbeddedBroker, _Client
from chaoskit.engine import once
from chaoskit.engine.conduct import Limits
from chaoskit.engine.rundir import RunDir
from chaoskit.model.events import ProgramStarted
from chaoskit.model.plan import Plan
from chaoskit.planning.draw import draw
from chaoskit.proxy.link import End
from chaoskit.tap.supervisor import Supervisor

SPENT: dict[str, float] = {}


def timed(name: str, owner: type, method: str) -> None:
    """Add the processor time of a method of ours to SPENT[name]; calls of others inside are counted there too."""
    original: Callable[..., Any] = getattr(owner, method)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return original(*args, **kwargs)
        finally:
            SPENT[name] = SPENT.get(name, 0.0) + time.thread_time() - began

    setattr(owner, method, wrapper)


def children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def interpreter_s() -> float:
    """Processor seconds of starting Python and importing what a worker imports."""
    before = children_s()
    subprocess.run([sys.executable, "-c", "import pika, json; import chaoskit.durable"], check=True)
    return children_s() - before


def measure(plan: Plan, directory: Path, control: bool) -> tuple[dict[str, float], list[Any]]:
    SPENT.clear()
    scenario = bundled.find("stateful")
    wall, ours, theirs = time.monotonic(), time.process_time(), children_s()
    setup = once.Setup(scenario, plan, RunDir(directory), control, Limits(grace_s=3.0))
    events = asyncio.run(once.run_once(setup))
    wall, ours, theirs = time.monotonic() - wall, time.process_time() - ours, children_s() - theirs
    starts = sum(isinstance(e, ProgramStarted) for e in events) * interpreter_s()
    parts = {
        "programs: interpreters and imports": min(starts, theirs),
        "programs: their work": max(theirs - starts, 0.0),
        "chaoskit: broker": SPENT.get("broker", 0.0),
        "chaoskit: proxies": SPENT.get("proxy", 0.0),
        "chaoskit: tap": SPENT.get("tap", 0.0),
        "chaoskit: the rest": ours - sum(SPENT.values()),
        "(chaoskit waits for programs)": wall - ours,
        "(wall clock)": wall,
    }
    return parts, events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    timed("broker", _Client, "data_received")
    timed("broker", EmbeddedBroker, "_end_turn")
    timed("proxy", End, "data_received")
    timed("tap", Supervisor, "step")
    with tempfile.TemporaryDirectory() as folder:
        controls, hurts = [], []
        for n in range(runs):
            parts, events = measure(Plan(n), Path(folder, f"control-{n}"), control=True)
            controls.append(parts)
            plan = draw(n, events, ["worker-2"], 3, 0)
            hurts.append(measure(plan, Path(folder, f"run-{n}"), control=False)[0])
    table("control run", controls)
    table("run with three kills", hurts)


def table(title: str, rows: list[dict[str, float]]) -> None:
    print(f"{title} (median of {len(rows)})")
    wall = statistics.median(row["(wall clock)"] for row in rows)
    for name in rows[0]:
        value = statistics.median(row[name] for row in rows)
        print(f"  {name:36} {value * 1000:8.1f} ms  {value / wall:6.0%} of the wall clock")


if __name__ == "__main__":
    main()
