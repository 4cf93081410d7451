"""What the tap costs a system call, beside strace --seccomp-bpf, in one run.

    python benchmarks/tap_cost.py [--calls 1000] [--rounds 30]

A small program makes many small writes: to a file in the watched directory (the tap performs and reports each) and
to /dev/null (the tap lets each go). Each is run bare, under the tap in an asyncio loop, and under
`strace -f --seccomp-bpf -e trace=write -o /dev/null`, in turn; the best of many short rounds counts, which a busy
machine disturbs least. Times are the program's own.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from chaoskit.tap import Ended, Event, Supervisor, spawn, unavailable

C_WRITER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int f = open(argv[1], O_CREAT | O_WRONLY | O_APPEND, 0644), calls = atoi(argv[2]);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < calls; i++) if (write(f, "CLI1,1,10\n", 10) != 10) return 1;
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%f\n", (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3);
    return 0;
}
"""
PYTHON_WRITER = """
import os, sys, time
f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
start = time.perf_counter()
for _ in range(int(sys.argv[2])):
    os.write(f, b"CLI1,1,10\\n")
print((time.perf_counter() - start) * 1e6)
"""
STRACE = ["strace", "-f", "--seccomp-bpf", "-e", "trace=write", "-o", "/dev/null"]


def writer(folder: Path) -> list[str]:
    """The command of the program: compiled C, or Python where there is no compiler."""
    if shutil.which("gcc") is None:
        return [sys.executable, "-I", "-S", "-c", PYTHON_WRITER]
    (folder / "writer.c").write_text(C_WRITER)
    subprocess.run(["gcc", "-O2", "-o", folder / "writer", folder / "writer.c"], check=True)
    return [str(folder / "writer")]


def run_plainly(command: list[str], data: Path) -> float:
    """Microseconds that the program measured, without a tap."""
    return float(subprocess.run(command, cwd=data, check=True, capture_output=True, text=True).stdout)


def run_traced(command: list[str], data: Path) -> float:
    """The same under strace."""
    return run_plainly([*STRACE, *command], data)


def run_tapped(command: list[str], data: Path) -> float:
    """The same under the tap, driven by an asyncio loop."""
    reader, sink = os.pipe()
    child = spawn(command, env=dict(os.environ), cwd=data, stdout=sink, stderr=2)
    os.close(sink)
    asyncio.run(supervise(child.listener_fd or -1, data))
    os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    with open(reader, encoding="ascii") as output:
        return float(output.read())


async def supervise(listener_fd: int, data: Path) -> None:
    """Answer until the program ends."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    calls: list[Event] = []

    def on_event(event: Event) -> None:
        calls.append(event)
        if isinstance(event, Ended):
            loop.remove_reader(supervisor.fileno())
            ended.set_result(None)

    supervisor = Supervisor(listener_fd, root=data, on_event=on_event)
    loop.add_reader(supervisor.fileno(), supervisor.step)
    await ended
    supervisor.close()


def measure(command: list[str], data: Path, path: str, calls: int, rounds: int) -> dict[str, float]:
    """Microseconds a call, the best of all rounds, of each way that works here."""
    ways: dict[str, Callable[[list[str], Path], float]] = {"bare": run_plainly, "tap": run_tapped}
    if shutil.which("strace"):
        ways["strace"] = run_traced
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            (data / "rows.csv").unlink(missing_ok=True)
            best[name] = min(best.get(name, 1e9), way([*command, path, str(calls)], data) / calls)
    return best


def main() -> int:
    """Print a table. Exit code 1 when the tap costs more than strace, 3 when it does not work here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    if (reason := unavailable()) is not None:
        print(reason)
        return 3
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        command = writer(Path(folder))
        for what, path in (("to a watched file", "rows.csv"), ("let go (/dev/null)", "/dev/null")):
            best = measure(command, data, path, options.calls, options.rounds)
            ratio = best["tap"] / best["strace"] if "strace" in best else 0.0
            worst = max(worst, ratio)
            times = "  ".join(f"{name} {time_us:6.2f} us" for name, time_us in best.items())
            print(f"a write {what:20} {times}  tap/strace {ratio:.2f}")
    return int(worst > 1)


if __name__ == "__main__":
    raise SystemExit(main())
