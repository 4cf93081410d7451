"""Ctrl-C, SIGTERM, a closed terminal and kill -9 at many moments: exit code 130, a clear line, nothing left."""

import os
import random
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

MOMENTS = 6
SOAK_MOMENTS = 60
ARGS = ("run", "stateful", "--kills", "3", "--duplicates", "1", "--seed", "1")
LINES = re.compile(r"interrupted|PASS|FAIL|ERROR|INCONCLUSIVE")


def listening_ports(pids: set[int]) -> set[str]:
    """Inodes of the listening TCP sockets that these processes hold."""
    held = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                held.add(os.readlink(fd).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A" and row[9] in held}


def temporary_files() -> set[str]:
    return {entry.name for entry in Path(tempfile.gettempdir()).iterdir() if "chaoskit" in entry.name.lower()}


def catches_sigterm(pid: int) -> bool:
    """Whether chaoskit has come so far that it decides what a signal does; before, Python alone does."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def interrupt(chaoskit: Any, until: Any, number: int, after_s: float) -> tuple[int, str]:
    """Start a run, signal it after a while; its exit code and all it printed."""
    process = chaoskit.popen(*ARGS)
    assert until(lambda: catches_sigterm(process.pid), 30)
    try:
        out, err = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    return process.returncode, out + err


def check_moments(chaoskit: Any, alive: Any, until: Any, moments: int, seed: int) -> None:
    rng = random.Random(seed)
    directory = chaoskit.directory
    longest_s = chaoskit(*ARGS).took_s
    before = temporary_files()
    codes = []
    for n in range(moments):
        number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[n % 3]
        after_s = rng.random() * longest_s
        code, text = interrupt(chaoskit, until, number, after_s)
        codes.append(code)
        told = f"{signal.Signals(number).name} after {after_s:.3f} s: code {code}\n{text}"
        assert "Traceback" not in text, told
        assert code in (130, 0), told
        assert code == 0 or "nterrupted" in text, told
        assert LINES.search(text), told
        assert alive(directory) == [], told
    assert codes.count(130) >= moments // 2
    assert temporary_files() <= before
    assert not list((directory / ".chaoskit").glob("latest.*"))


@pytest.mark.timeout(400)
def test_an_interrupt_at_any_moment_leaves_nothing(chaoskit: Any, alive: Any, until: Any) -> None:
    check_moments(chaoskit, alive, until, MOMENTS, seed=20)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_sixty_interrupts_leave_nothing(chaoskit: Any, alive: Any, until: Any) -> None:
    check_moments(chaoskit, alive, until, SOAK_MOMENTS, seed=21)


def started_run(chaoskit: Any, alive: Any, until: Any, directory: Path) -> Any:
    """A run whose programs are up, and which will not end by itself soon: its target is paused."""
    journal = directory / ".chaoskit" / "latest" / "journal.jsonl"
    plan = directory / "slow.yaml"
    plan.write_text("steps: [{pause: worker-2, at: {time_s: 0.0}, for_s: 50}]")
    process = chaoskit.popen("run", "stateful", "--plan", "slow.yaml", "--no-control", "--seed", "2")
    assert until(lambda: journal.is_file() and '"type":"fault"' in journal.read_text(), 30)
    assert len(alive(directory)) >= 2
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_reports_what_it_saw(
    chaoskit: Any, alive: Any, until: Any, empty: Path, number: int
) -> None:
    process = started_run(chaoskit, alive, until, empty)
    assert listening_ports({process.pid})
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert "MISSING" in out
    assert "interrupted" in out
    assert alive(empty) == []
    assert (empty / ".chaoskit" / "latest" / "report.json").is_file()
    judged = chaoskit("judge", ".chaoskit/latest", "--json")
    assert (judged.code, judged.report["ended"]) == (130, "interrupted")


def test_an_impatient_second_ctrl_c_changes_nothing(chaoskit: Any, alive: Any, until: Any, empty: Path) -> None:
    process = started_run(chaoskit, alive, until, empty)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert alive(empty) == []


def test_an_interrupt_ends_a_repeated_run_too(chaoskit: Any, alive: Any, until: Any, empty: Path) -> None:
    process = chaoskit.popen("run", "stateful", "--repeat", "1000")
    assert until(lambda: len(alive(empty)) >= 2, 30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert alive(empty) == []


def test_kill_nine_of_chaoskit_takes_its_programs_with_it(chaoskit: Any, alive: Any, until: Any, empty: Path) -> None:
    process = started_run(chaoskit, alive, until, empty)
    process.kill()
    process.communicate(timeout=30)
    assert until(lambda: alive(empty) == [])
    judged = chaoskit("judge", ".chaoskit/latest")
    assert judged.code == 1
    assert "the journal has no end: chaoskit itself was killed" in judged.out
