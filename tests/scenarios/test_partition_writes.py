"""The partition-writes scenario as a user runs it: `chaoskit run`, its programs as processes, the embedded broker."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "scenarios" / "partition-writes"
TARGET = "worker-2"


class Result(NamedTuple):
    exit_code: int
    report: dict[str, Any]
    run_dir: Path
    errors: str

    def ids(self, outcome: str) -> set[str]:
        return {verdict["id"] for verdict in self.report["verdicts"] if verdict["outcome"] == outcome}

    def log(self, program: str) -> list[str]:
        return (self.run_dir / "logs" / f"{program}.log").read_text().splitlines()

    def data(self, name: str) -> Path:
        return self.run_dir / "data" / TARGET / name


def run(directory: Path, scenario: Path | str, *arguments: object) -> Result:
    command = [sys.executable, "-c", "from chaoskit.cli.main import main; raise SystemExit(main())"]
    words = [*command, "run", str(scenario), "--json", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=directory, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    report = json.loads(done.stdout) if done.stdout.strip() else {}
    runs = sorted((directory / ".chaoskit" / "runs").iterdir())
    return Result(done.returncode, report, runs[-1], done.stderr)


@pytest.fixture
def own_copy(tmp_path: Path) -> Path:
    """The scenario's folder, to be changed."""
    copy = tmp_path / "scenario"
    shutil.copytree(SCENARIO, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def prepend(path: Path, lines: str) -> None:
    """Put lines behind the imports from __future__."""
    marker = "from __future__ import annotations\n"
    text = path.read_text()
    assert text.count(marker) == 1
    path.write_text(text.replace(marker, marker + lines))


# ---- the correct worker ----


def test_a_run_without_faults_prints_the_documented_lines(tmp_path: Path) -> None:
    result = run(tmp_path, "partition-writes", "--set", "NUM_CHUNKS=2", "--no-control")
    assert (result.exit_code, result.ids("SUCCESS")) == (0, {"TEST00000001", "TEST00000002"}), result.errors
    lines = [line for line in result.log("worker-2") if "TEST00000001" in line]
    assert lines[0].endswith("Worker 2: Processing chunk TEST00000001")
    assert lines[1].endswith("Worker 2: Wrote partition 0 from chunk TEST00000001")
    assert lines[-1].endswith("Worker 2: Completed processing chunk TEST00000001")
    assert any(line.endswith("SUCCESS [TEST00000001]") for line in result.log("worker-3"))
    assert result.data("state/processed-chunks.txt").read_text() == "TEST00000001\nTEST00000002\n"


def test_kills_and_duplicates_lose_and_double_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "partition-writes", "--kills", 5, "--duplicates", 3, "--seed", 11, "--set", "SEED=11")
    assert (result.exit_code, len(result.ids("SUCCESS"))) == (0, 20), result.errors
    assert [fault["fired"] for fault in result.report["faults"]] == 8 * [True]


@pytest.mark.parametrize(
    "parameters",
    [
        {"NUM_PARTITIONS": 1, "NUM_CHUNKS": 6},
        {"NUM_PARTITIONS": 50, "NUM_CHUNKS": 6},
        {"COMPACT_PAIRS_ABOVE": 3, "DUPLICATES": 3, "LATE_DUPLICATES": 4},
    ],
)
def test_other_parameters_are_green_as_well(tmp_path: Path, parameters: dict[str, int]) -> None:
    changes = [word for name, value in parameters.items() for word in ("--set", f"{name}={value}")]
    result = run(tmp_path, "partition-writes", "--kills", 3, "--seed", 3, *changes)
    assert (result.exit_code, result.ids("FAILURE"), result.ids("MISSING")) == (0, set(), set()), result.errors


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_seeds_are_green(tmp_path: Path) -> None:
    red = []
    for seed in range(200):
        result = run(
            tmp_path, "partition-writes", "--kills", 5, "--duplicates", 3, "--seed", seed, "--set", f"SEED={seed}"
        )
        if result.exit_code:
            red.append((seed, result.exit_code, result.errors[-500:]))
    assert red == []


# ---- planted bugs ----


def planted(copy: Path, name: str) -> None:
    """Let worker 2 use a manager of tests/durable/partition_bugs.py."""
    (copy / "planted.py").write_text(
        f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import pytest
from chaoskit.durable import partition
from durable.partition_bugs import BUGS
partition.PartitionManager = BUGS[{name!r}](pytest.MonkeyPatch())
"""
    )
    prepend(copy / "worker_2.py", "import planted\n")


class Sent(NamedTuple):
    """What the runner sends to one partition."""

    chunk_id: str
    lines: list[bytes]


def sent_to(partition: int, chunks: int, seed: int) -> list[Sent]:
    """The chunks that touch a partition, in order, made by the scenario's own generator."""
    script = (
        "import json, sys; from chunk_data import chunks; print(json.dumps(chunks('TEST', *map(int, sys.argv[1:]))))"
    )
    words = [sys.executable, "-c", script, str(chunks), str(seed)]
    made = json.loads(subprocess.run(words, cwd=SCENARIO, capture_output=True, check=True).stdout)
    sent = [Sent(id_, [line_of(row) for row in rows if int(row[0]) % 5 == partition]) for id_, rows in made]
    return [one for one in sent if one.lines]


def line_of(row: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def in_a_quoted_line_break(partition: int) -> tuple[int, int, str]:
    """A seed, the number of a write, and a number of bytes that end behind a line break in quotes; its chunk."""
    for seed in range(100):
        for nth, sent in enumerate(sent_to(partition, 6, seed)[1:4], 2):
            for index, line in enumerate(sent.lines[:-1]):
                if line.count(b"\n") > 1:
                    return seed, nth, len(b"".join(sent.lines[:index])) + line.index(b"\n") + 1
    raise AssertionError("no seed with a line break in quotes")


def kill(**at: object) -> dict[str, object]:
    return {"kill": TARGET, "at": at}


PARTITION = 1
FILE = f"partitions/TEST-users-partition-{PARTITION:03d}.csv"
PLANS: dict[str, tuple[int, dict[str, object]]] = {
    # bug: number of the write that is hit, step
    "records_the_pairs_before_the_rows": (2, kill(write=FILE, nth=2, when="before")),
    "repairs_no_tail": (3, kill(write=FILE, nth=3, byte="middle")),
    "drops_a_whole_line_at_the_repair": (3, kill(write=FILE, nth=3, byte="last")),
    "writes_whole_rows_again_after_a_kill_before_the_record": (2, kill(fsync=FILE, nth=2, when="before")),
    "never_heals_a_torn_header": (1, kill(write=FILE, nth=1, byte=5)),
}


@pytest.mark.parametrize("bug", PLANS)
def test_a_planted_bug_is_red_and_its_chunk_is_named(tmp_path: Path, own_copy: Path, bug: str) -> None:
    nth, step = PLANS[bug]
    named = sent_to(PARTITION, 6, 0)[nth - 1].chunk_id
    if bug == "drops_a_whole_line_at_the_repair":
        # The line that it drops is the last one of the chunk before.
        named = sent_to(PARTITION, 6, 0)[nth - 2].chunk_id
    result = run_planted(tmp_path, own_copy, bug, 0, step)
    assert (result.exit_code, named in result.ids("FAILURE")) == (1, True), (result.report["verdicts"], result.errors)
    assert [fault["fired"] for fault in result.report["faults"]] == [True]


def test_a_line_break_in_quotes_taken_for_the_end_of_a_row_is_red(tmp_path: Path, own_copy: Path) -> None:
    seed, nth, cut_bytes = in_a_quoted_line_break(PARTITION)
    named = sent_to(PARTITION, 6, seed)[nth - 1].chunk_id
    bug = "takes_a_line_break_in_quotes_for_the_end_of_a_row"
    result = run_planted(tmp_path, own_copy, bug, seed, kill(write=FILE, nth=nth, byte=cut_bytes))
    assert (result.exit_code, named in result.ids("FAILURE")) == (1, True), (result.report["verdicts"], result.errors)


def run_planted(tmp_path: Path, copy: Path, bug: str, seed: int, step: dict[str, object]) -> Result:
    planted(copy, bug)
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"seed": 0, "steps": [step]}))
    changes = ("--set", "NUM_CHUNKS=6", "--set", f"SEED={seed}", "--timeout", 8)
    return run(tmp_path, copy / "scenario.yaml", "--plan", plan, "--no-control", *changes)


def test_the_same_plan_is_green_for_the_correct_worker(tmp_path: Path, own_copy: Path) -> None:
    seed, nth, cut_bytes = in_a_quoted_line_break(PARTITION)
    plan = tmp_path / "plan.yaml"
    steps = [kill(write=FILE, nth=nth, byte=cut_bytes), kill(truncate=FILE, nth=1, when="before", life=1)]
    plan.write_text(yaml.safe_dump({"seed": 0, "steps": steps}))
    changes = ("--set", "NUM_CHUNKS=6", "--set", f"SEED={seed}")
    result = run(tmp_path, "partition-writes", "--plan", plan, "--no-control", *changes)
    assert (result.exit_code, len(result.ids("SUCCESS"))) == (0, 6), (result.report, result.errors)


# ---- bad input ----

BAD_DATA = (
    "user_id,name\nx,not a number\n",
    "user_id,name\n1,too,many\n",
    "user_id,name\n1\n",
    'user_id,name\n1,"never closed\n',
    "name,user_id\na,1\n",
    "",
)
BAD_BODIES = (
    *(json.dumps({"client_id": "TEST", "chunk_id": "bad", "data": data}).encode() for data in BAD_DATA),
    json.dumps({"client_id": "../../etc/passwd", "chunk_id": "bad", "data": "user_id,name\n1,a\n"}).encode(),
    json.dumps({"client_id": "TEST", "chunk_id": "../x", "data": "user_id,name\n1,a\n"}).encode(),
    json.dumps({"client_id": "TEST", "chunk_id": "bad"}).encode(),
    b'{"client_id": "TEST", "chu',
    random.Random(1).randbytes(64),
    b"[" * 5000,
    b"",
)


def test_bad_messages_are_kept_whole_and_do_not_stop_the_run(tmp_path: Path, own_copy: Path) -> None:
    runner = own_copy / "test_runner.py"
    bodies = [base64.b64encode(body).decode() for body in BAD_BODIES]
    send_bad = f"""
        import base64
        for body in {bodies!r}:
            amqp.publish(channel, self.queue, "bad", base64.b64decode(body))
"""
    text = runner.read_text()
    marker = "        amqp.declare(channel, self.queue)\n"
    assert text.count(marker) == 1
    runner.write_text(text.replace(marker, marker + send_bad))
    result = run(tmp_path, own_copy / "scenario.yaml", "--set", "NUM_CHUNKS=3", "--no-control")
    assert (result.exit_code, len(result.ids("SUCCESS"))) == (0, 3), (result.report, result.errors)
    kept = [json.loads(line) for line in result.data("rejected/messages.jsonl").read_text().splitlines()]
    assert [base64.b64decode(entry["body_base64"]) for entry in kept] == list(BAD_BODIES)
    assert all(entry["reason"] for entry in kept)


def test_a_partition_file_that_is_a_directory_keeps_its_chunks_and_lets_the_others_pass(
    tmp_path: Path, own_copy: Path
) -> None:
    block = """
import os
os.makedirs(os.environ["WORKER_DATA_DIR"] + "/partitions/TEST-users-partition-017.csv", exist_ok=True)
"""
    prepend(own_copy / "worker_2.py", block)
    changes = ("--set", "NUM_CHUNKS=6", "--set", "NUM_PARTITIONS=40", "--timeout", 4)
    result = run(tmp_path, own_copy / "scenario.yaml", "--no-control", *changes)
    kept = [json.loads(line) for line in result.data("rejected/messages.jsonl").read_text().splitlines()]
    rejected = {json.loads(base64.b64decode(entry["body_base64"]))["chunk_id"] for entry in kept}
    assert all("not a regular file" in entry["reason"] for entry in kept)
    written = result.data("state/processed-chunks.txt").read_text().split()
    assert (result.exit_code, len(rejected) + len(written), rejected & set(written)) == (1, 6, set()), result.errors
    assert rejected and written and set(written) == result.ids("SUCCESS")
