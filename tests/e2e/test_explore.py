"""`chaoskit explore`, `shrink` and what they leave, as a user sees them."""

import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ONE_FILE = ("--only", "write:metadata/CLI1.csv")


def test_every_point_of_a_file_is_visited_and_survived(chaoskit: Any) -> None:
    done = chaoskit("explore", "stateful", *ONE_FILE, "--json")
    assert done.code == 0, done.text
    points = done.report["points"]
    assert points["found"] == points["run"] == points["survived"] > 10
    assert {(row["op"], row["path"]) for row in done.report["coverage"]} == {("write", "metadata/CLI1.csv")}
    assert done.report["parameters"]["NUM_CHUNKS"] == 2, "the scenario's parameters for exploring"
    assert done.report["failures"] == []


def test_set_overrides_the_parameters_for_exploring(chaoskit: Any) -> None:
    arguments = ("--set", "NUM_CHUNKS=3", "--set", "EXPECTED_CHUNKS=3", "--only", "create:*", "--faults", "kill")
    done = chaoskit("explore", "stateful", *arguments, "--json")
    assert done.code == 0, done.text
    assert done.report["parameters"]["NUM_CHUNKS"] == 3


def test_a_planted_bug_is_found_and_its_replay_command_works(chaoskit: Any, planted: Path) -> None:
    bug = planted / "forgets-ready-clients"
    arguments = ("--faults", "kill", "--max-failures", "1", "--jobs", "1", "--only", "after*write:metadata/CLI1.csv#3")
    done = chaoskit("explore", str(bug), *arguments)
    assert done.code == 1, done.text
    assert "MISSING [CLI1]" in done.text and "3 of 3 times" in done.text
    replay = re.search(r"chaoskit (replay \S+)", done.out)
    assert replay is not None
    again = chaoskit(*replay[1].split())
    assert again.code == 1 and "CLI1     MISSING" in again.out


def test_a_power_loss_is_survived_by_the_correct_worker_and_not_without_fsync(chaoskit: Any, tmp_path: Path) -> None:
    arguments = ("--faults", "power-loss", "--only", "write:metadata/CLI1.csv", "--json")
    assert chaoskit("explore", "stateful", *arguments).code == 0
    done = chaoskit("explore", str(_without_fsync(tmp_path / "bug")), *arguments, "--max-failures", "1")
    assert done.code == 1, done.text
    assert done.report["failures"][0]["plan"][0].startswith("power-loss worker-2 at after")


def _without_fsync(folder: Path) -> Path:
    """The stateful scenario, its worker's fsync taken away."""
    from chaoskit import bundled

    real = bundled.scenarios_dir() / "stateful"
    folder.mkdir()
    (folder / "bug.py").write_text(
        f"import os, sys\nsys.path.insert(0, {str(real)!r})\n"
        "os.fsync = lambda fd: None\nimport worker_2\nworker_2.main()\n"
    )
    text = (real / "scenario.yaml").read_text().replace("[python, worker_2.py]", "[python, bug.py]")
    text = re.sub(r"\[python, (worker_3|test_runner)\.py\]", rf"[python, {real}/\1.py]", text)
    (folder / "scenario.yaml").write_text(text)
    return folder


def test_dry_run_counts_and_runs_no_experiment(chaoskit: Any, empty: Path) -> None:
    done = chaoskit("explore", "stateful", "--dry-run", "--json")
    assert done.code == 0 and done.report["experiments"] > 100 and done.report["estimated_s"] > 1
    assert not list(empty.glob(".chaoskit/runs/*"))
    assert not (empty / ".chaoskit" / "latest").is_symlink()


@pytest.mark.soak
def test_an_exploration_goes_on_after_a_dry_run(chaoskit: Any, empty: Path) -> None:
    arguments = ("explore", "json-file", "--faults", "kill")
    first = chaoskit(*arguments, "--max-failures", "1", "--jobs", "1", "--json")
    assert chaoskit(*arguments, "--dry-run").code == 0
    assert (empty / ".chaoskit" / "latest").resolve() == (empty / first.report["run_dir"]).resolve()
    assert chaoskit(*arguments, "--resume", "--json").report["run_dir"] == first.report["run_dir"]


def test_the_code_of_an_exploration_outlasts_a_file_that_cannot_be_written(chaoskit: Any) -> None:
    done = chaoskit("explore", "json-file", "--faults", "kill", "--max-failures", "1", "--junit", "/dev/full")
    assert done.code == 1, done.text
    assert done.err == "chaoskit: /dev/full: the report cannot be written: No space left on device\n"


def test_a_budget_that_is_used_up_is_inconclusive(chaoskit: Any) -> None:
    done = chaoskit("explore", "stateful", "--budget", "1", "--jobs", "1", "--json")
    assert done.code == 4, done.text
    assert done.report["points"]["run"] < done.report["points"]["found"]
    assert "--budget" in done.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--faults", "earthquake"), "explore has kill"),
        (("--faults", ","), "--faults is empty"),
        (("--resume",), "no run of explore-stateful"),
        (("--set", "NO_SUCH=1"), "no such parameter"),
    ],
)
def test_bad_arguments_are_one_line(chaoskit: Any, arguments: tuple[str, ...], says: str) -> None:
    done = chaoskit("explore", "stateful", *arguments)
    assert done.code == 2 and says in done.err and len(done.err.strip().splitlines()) == 1


def test_nothing_to_explore_is_not_green(chaoskit: Any) -> None:
    done = chaoskit("explore", "stateful", "--only", "no-such-point", "--json")
    assert done.code == 4, done.text


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak), signal.SIGKILL]
)
def test_an_exploration_that_is_cut_off_leaves_nothing_and_goes_on(
    chaoskit: Any, empty: Path, alive: Callable[[Path], list[int]], until: Callable[..., bool], number: signal.Signals
) -> None:
    arguments = ("explore", "stateful", "--faults", "kill", "--only", "write:metadata/*", "--jobs", "2")
    process = chaoskit.popen(*arguments)
    wanted = random.Random(number).randrange(2, 8)
    assert until(lambda: _records(empty) >= wanted, 40.0)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == (130 if number != signal.SIGKILL else -9)
    assert until(lambda: not alive(empty), 10.0), "processes were left"
    before = _records(empty)
    done = chaoskit(*arguments, "--resume", "--json")
    assert done.code == 0, done.text
    points = done.report["points"]
    assert points["found"] == points["run"] == points["survived"]
    assert _records(empty) == points["run"], "finished experiments were made again"
    assert before >= wanted


def _records(directory: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in directory.glob(".chaoskit/runs/*/experiments.jsonl"))


def test_shrink_reduces_twenty_faults_to_the_one_that_matters(chaoskit: Any, planted: Path, empty: Path) -> None:
    steps = [{"duplicate": "queue-1-2", "at": {"message": n}} for n in (2, 4, 5, 6)]
    steps += [{"pause": "worker-3", "at": {"log": "Expected sum", "nth": 1}, "for_s": 0.05}]
    steps += [{"kill": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 3, "when": "after"}}]
    (empty / "plan.json").write_text(json.dumps({"seed": 0, "steps": steps}))
    done = chaoskit("run", str(planted / "forgets-ready-clients"), "--plan", "plan.json", "--shrink")
    assert done.code == 1, done.text
    assert "6 steps shrunk to 1" in done.out, done.out
    replay = re.findall(r"again: chaoskit (replay \S+)", done.out)[-1]
    assert chaoskit(*replay.split()).code == 1


def test_a_run_that_did_not_fail_cannot_be_shrunk(chaoskit: Any) -> None:
    assert chaoskit("run", "stateful", "--kills", "1", "--seed", "1").code == 0
    done = chaoskit("shrink", ".chaoskit/latest")
    assert done.code == 2 and "passed: only a run with a FAILURE" in done.err


@pytest.mark.soak
def test_twenty_random_kills_shrink_to_the_two_that_are_needed_together(chaoskit: Any, empty: Path) -> None:
    """A worker that does not repair a torn tail dies of it only at the start after the next one."""
    bugs = Path(__file__).parents[2] / "benchmarks" / "bugs"
    code = "import sys, pathlib, staging, catalogue; bug = next(b for b in catalogue.BUGS if 's12' in b.path.stem)"
    made = f"sys.path.insert(0, {str(bugs)!r})"
    script = f"import sys; {made}; {code}; staging.stage(bug, pathlib.Path('s12'))"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=empty)
    settings = ("--set", "NUM_CHUNKS=12", "--set", "EXPECTED_CHUNKS=12")
    done = chaoskit("run", "s12", "--kills", "20", *settings, "--seed", "1", "--shrink", timeout_s=300)
    assert done.code == 1, done.text
    assert "20 steps shrunk to 2" in done.out, done.out


def test_late_copies_are_sent_when_the_last_thing_to_wait_for_was_a_fault_that_heals(
    chaoskit: Any, empty: Path
) -> None:
    """Found by the soak: nothing happened after the healing, so nobody looked whether the late copies were due."""
    steps = [{"duplicate": "queue-1-2", "at": {"message": n}, "late": True} for n in (1, 2)]
    steps += [{"eio": "worker-2", "at": {"unlink": "metadata/CLI2.csv"}, "for_s": 0.3}]
    steps += [{"kill": "worker-2", "at": {"delivered": "queue-1-2", "nth": 7}}]
    (empty / "plan.json").write_text(json.dumps({"seed": 0, "steps": steps}))
    done = chaoskit("run", "stateful", "--plan", "plan.json", "--no-control")
    assert done.code == 0, done.text
