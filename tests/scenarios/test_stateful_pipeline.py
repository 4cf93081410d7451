"""The three programs of the stateful scenario together, with kills, duplicates, poison and a broker that goes away."""

from __future__ import annotations

import json
import os
import resource
import signal

import pytest

from .conftest import STATEFUL, Stateful

SUCCESS_1 = r"Worker 3: SUCCESS \[CLI1\] - Expected: 60, Received: 60$"
SUCCESS_2 = r"Worker 3: SUCCESS \[CLI2\] - Expected: 60, Received: 60$"


def chunk(client: object = "CLI1", msg_id: object = "CLI100000001", number: object = 1, value: object = 10) -> bytes:
    return json.dumps({"client_id": client, "msg_id": msg_id, "chunk_number": number, "value": value}).encode()


def test_all_log_lines_are_the_ones_of_the_contract(stateful: Stateful) -> None:
    worker_2, worker_3 = stateful.worker_2(), stateful.worker_3()
    runner = stateful.runner(NUM_CLIENTS=1)
    worker_3.wait_for(SUCCESS_1)
    assert runner.exit_code() == 0
    assert worker_2.terminate() == 0
    assert worker_3.terminate() == 0
    assert [line for line in worker_2.lines if "Waiting" not in line] == [
        "Worker 2: Rebuilding state from metadata...",
        "Worker 2: Processing chunk 1 for client CLI1",
        "Worker 2: Client CLI1 not ready yet (1/3 chunks, sum: 10)",
        "Worker 2: Processing chunk 2 for client CLI1",
        "Worker 2: Client CLI1 not ready yet (2/3 chunks, sum: 30)",
        "Worker 2: Processing chunk 3 for client CLI1",
        "Worker 2: Client CLI1 is ready! Aggregated sum: 60",
        "Worker 2: Sent result chunk for client CLI1 (sum: 60)",
    ]
    assert worker_3.lines[0] == "Worker 3: Expected sum for client CLI1: 60"


def test_the_metadata_file_is_the_one_of_the_contract(stateful: Stateful) -> None:
    worker_2 = stateful.worker_2(EXPECTED_CHUNKS=4)
    stateful.runner(NUM_CLIENTS=1).exit_code()
    worker_2.wait_for("3/4 chunks")
    rows = (stateful.metadata / "CLI1.csv").read_bytes()
    assert rows == b"msg_id,chunk_number,value\nCLI100000001,1,10\nCLI100000002,2,20\nCLI100000003,3,30\n"


@pytest.mark.parametrize(
    "line",
    [
        "Rebuilding state",
        "Processing chunk 1 for client CLI1",
        "Client CLI1 not ready yet",
        "Processing chunk 3 for client CLI1",
        "Client CLI1 is ready!",
        "Sent result chunk for client CLI1",
        "Sent result chunk for client CLI2",
    ],
)
def test_a_worker_killed_at_a_log_line_loses_nothing(stateful: Stateful, line: str) -> None:
    worker_3 = stateful.worker_3()
    first = stateful.worker_2()
    runner = stateful.runner()
    first.wait_for(line)
    first.kill()
    second = stateful.worker_2()
    worker_3.wait_for(SUCCESS_1)
    worker_3.wait_for(SUCCESS_2)
    assert runner.exit_code() == 0
    second.wait_for("Waiting for chunks")
    assert second.terminate() == 0
    assert not [printed for printed in worker_3.lines if "FAILURE" in printed]
    assert not list(stateful.metadata.glob("*.csv"))


def test_a_restarted_worker_says_what_it_rebuilt(stateful: Stateful) -> None:
    first = stateful.worker_2(EXPECTED_CHUNKS=4)
    stateful.runner(NUM_CLIENTS=1).exit_code()
    first.wait_for("3/4 chunks")
    first.kill()
    second = stateful.worker_2(EXPECTED_CHUNKS=4)
    second.wait_for(r"^Worker 2: Rebuilt state for client CLI1 \(3 unique rows\)$")


def test_a_result_that_was_not_sent_before_the_kill_is_sent_at_the_next_start(stateful: Stateful) -> None:
    stateful.metadata.mkdir(parents=True)
    rows = "msg_id,chunk_number,value\nCLI100000001,1,10\nCLI100000002,2,20\nCLI100000003,3,30\nCLI1000"
    (stateful.metadata / "CLI1.csv").write_text(rows)
    worker_3 = stateful.worker_3()
    stateful.worker_2()
    worker_3.wait_for(SUCCESS_1)


def test_duplicates_in_a_row_and_late_ones_change_no_sum(stateful: Stateful) -> None:
    worker_2, worker_3 = stateful.worker_2(), stateful.worker_3()
    runner = stateful.runner(DUPLICATES=5, LATE_DUPLICATES=4, SEED=7)
    assert runner.exit_code() == 0
    worker_3.wait_for(SUCCESS_1)
    worker_3.wait_for(SUCCESS_2)
    worker_2.wait_for(r"is finished, ignoring message", times=4)
    assert sum("Sent chunk" in line for line in runner.lines) == 15
    assert sum("SUCCESS" in line or "FAILURE" in line for line in worker_3.lines) == 2


POISON = {
    "binary": b"\xff\xfe\x00\x01",
    "empty": b"",
    "cut": chunk()[:-5],
    "a list": b"[]",
    "nested too deep": b"[" * 100_000,
    "a path as client": chunk(client="../../etc/passwd"),
    "a NUL in the client": chunk(client="CLI1\0"),
    "no client": chunk(client=None),
    "an empty client": chunk(client=""),
    "a comma in the id": chunk(msg_id="CLI1,1"),
    "a number that is text": chunk(number="1"),
    "a number that is true": chunk(number=True),
    "number 0": chunk(number=0),
    "a value with digits behind the point": chunk(value=1.5),
    "a huge value": b'{"client_id": "CLI1", "msg_id": "x", "chunk_number": 1, "value": ' + b"9" * 5000 + b"}",
    "no number": b'{"client_id": "CLI1", "msg_id": "x", "chunk_number": 1, "value": NaN}',
}


def test_poison_is_kept_and_rejected_once_and_harms_nothing(stateful: Stateful) -> None:
    worker_2, worker_3 = stateful.worker_2(), stateful.worker_3()
    for body in POISON.values():
        stateful.send("queue-1-2", body)
    worker_2.wait_for("Rejected a message of", times=len(POISON))
    stateful.runner().exit_code()
    worker_3.wait_for(SUCCESS_1)
    worker_3.wait_for(SUCCESS_2)
    assert len(stateful.rejected()) == len(POISON)
    assert worker_2.terminate() == 0
    assert not [line for line in worker_2.lines if "Traceback" in line]
    kept = {path.name for path in stateful.data_dir.parent.rglob("*")}
    assert kept == {"worker-2", "metadata", "done", "CLI1", "CLI2", "rejected", "messages.jsonl"}


def test_a_known_message_id_with_another_value_is_rejected(stateful: Stateful) -> None:
    worker_2, worker_3 = stateful.worker_2(), stateful.worker_3()
    stateful.send("queue-1-2", chunk())
    stateful.send("queue-1-2", chunk(value=11))
    worker_2.wait_for("Rejected a message of .* known with another payload")
    stateful.runner().exit_code()
    worker_3.wait_for(SUCCESS_1)


def test_a_known_chunk_number_with_another_value_is_rejected_and_leaves_no_row(stateful: Stateful) -> None:
    worker_2, worker_3 = stateful.worker_2(), stateful.worker_3()
    stateful.send("queue-1-2", chunk())
    stateful.send("queue-1-2", chunk(msg_id="other", value=11))
    worker_2.wait_for("Rejected a message of .* chunk 1 is 11 here and 10 before")
    assert (stateful.metadata / "CLI1.csv").read_text().count("\n") == 2
    stateful.runner().exit_code()
    worker_3.wait_for(SUCCESS_1)


def test_a_full_disk_is_waited_for_and_nothing_is_lost(stateful: Stateful) -> None:
    # A file-size limit makes the kernel take a part of a write and refuse the rest, as a full disk does.
    worker_2, worker_3 = stateful.worker_2(), stateful.worker_3()
    worker_2.wait_for("Waiting for chunks")
    limit = resource.prlimit(worker_2.pid, resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
    stateful.runner().exit_code()
    worker_2.wait_for("cannot append to .*CLI1.csv", times=3)
    assert (stateful.metadata / "CLI1.csv").read_text() == "msg_id,chunk_number,value\nCLI100000001,1,10\n"
    resource.prlimit(worker_2.pid, resource.RLIMIT_FSIZE, limit)
    worker_3.wait_for(SUCCESS_1)
    worker_3.wait_for(SUCCESS_2)
    assert worker_2.terminate() == 0


def test_a_worker_that_waits_for_the_disk_stops_on_sigterm_and_loses_nothing(stateful: Stateful) -> None:
    worker_3, first = stateful.worker_3(), stateful.worker_2()
    first.wait_for("Waiting for chunks")
    resource.prlimit(first.pid, resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
    stateful.runner().exit_code()
    first.wait_for("cannot append to .*CLI1.csv")
    assert first.terminate() == 0
    stateful.worker_2()
    worker_3.wait_for(SUCCESS_1)
    worker_3.wait_for(SUCCESS_2)


def test_all_programs_come_back_when_the_broker_does(stateful: Stateful) -> None:
    worker_2, worker_3 = stateful.worker_2(), stateful.worker_3()
    worker_2.wait_for("Waiting for chunks")
    worker_3.wait_for("Waiting for results")
    stateful.broker.stop()
    worker_2.wait_for("No broker at 127.0.0.1")
    worker_3.wait_for("No broker at 127.0.0.1")
    runner = stateful.runner()
    runner.wait_for("No broker at 127.0.0.1")
    stateful.broker.start()
    worker_3.wait_for(SUCCESS_1)
    worker_3.wait_for(SUCCESS_2)
    assert runner.exit_code() == 0


@pytest.mark.parametrize("program", ["worker_2", "worker_3"])
def test_sigterm_ends_a_program_with_exit_code_0_also_without_a_broker(stateful: Stateful, program: str) -> None:
    stateful.broker.stop()
    waiting = getattr(stateful, program)()
    waiting.wait_for("No broker at")
    assert waiting.terminate() == 0
    stateful.broker.start()


def test_a_runner_that_is_stopped_does_not_claim_that_all_was_sent(stateful: Stateful) -> None:
    stateful.broker.stop()
    runner = stateful.runner()
    runner.wait_for("No broker at")
    assert runner.terminate() == 143
    stateful.broker.start()


def test_a_wrong_password_ends_the_worker_with_one_line(stateful: Stateful) -> None:
    worker_2 = stateful.worker_2(RABBITMQ_PASS="wrong")
    assert worker_2.exit_code() == 1
    assert worker_2.lines[-1].startswith("Worker 2: stopped by an unexpected error: ProbableAuthenticationError")


@pytest.mark.parametrize("name", ["NUM_CHUNKS", "RABBITMQ_PORT"])
def test_a_setting_that_is_no_number_ends_the_runner_with_one_line(stateful: Stateful, name: str) -> None:
    runner = stateful.runner(**{name: "many"})
    assert runner.exit_code() == 1
    assert runner.lines == [f"{name} must be a whole number, not 'many'; set it in the environment"]


def test_a_file_with_a_foreign_header_stops_the_worker_with_one_line_and_stays(stateful: Stateful) -> None:
    stateful.metadata.mkdir(parents=True)
    foreign = stateful.metadata / "CLI1.csv"
    foreign.write_text("id;value\n1;2\n")
    worker_2 = stateful.worker_2()
    assert worker_2.exit_code() == 1
    assert "CLI1.csv:1: the header is 'id;value' instead of 'msg_id,chunk_number,value'" in worker_2.lines[-1]
    assert foreign.read_text() == "id;value\n1;2\n"


def test_the_verifier_tells_the_same_result_from_another_one(stateful: Stateful) -> None:
    worker_3 = stateful.worker_3()
    good = json.dumps({"client_id": "CLI1", "sum": 60}).encode()
    stateful.send("queue-2-3", b"\xff garbage")
    stateful.send("queue-2-3", b'{"client_id": 5, "sum": 60}')
    stateful.send("queue-2-3", good, "CLI1/result")
    stateful.send("queue-2-3", good, "CLI1/result")
    stateful.send("queue-2-3", json.dumps({"client_id": "CLI1", "sum": 70}).encode(), "CLI1/result")
    stateful.send("queue-2-3", json.dumps({"client_id": "evil]\nSUCCESS [CLI2]", "sum": 60}).encode())
    stateful.send("queue-2-3", json.dumps({"client_id": "CLI2", "sum": 50}).encode(), "CLI2/result")
    worker_3.wait_for(r"\[CLI2\]")
    assert [line for line in worker_3.lines if "sum for" not in line and "Waiting" not in line] == [
        "Worker 3: Rejected a message of 9 bytes that is no result",
        "Worker 3: Rejected a message of 27 bytes that is no result",
        "Worker 3: SUCCESS [CLI1] - Expected: 60, Received: 60",
        "Worker 3: Duplicate result for client CLI1 (sum: 60)",
        "Worker 3: FAILURE [CLI1] - Expected: 60, Received: 70 after 60",
        "Worker 3: FAILURE [evil??SUCCESS??CLI2?] - Unknown client, Received: 60",
        "Worker 3: FAILURE [CLI2] - Expected: 60, Received: 50",
    ]


def test_a_stopped_verifier_is_only_late(stateful: Stateful) -> None:
    worker_3 = stateful.worker_3()
    worker_3.wait_for("Waiting for results")
    os.kill(worker_3.pid, signal.SIGSTOP)
    worker_2 = stateful.worker_2()
    stateful.runner().exit_code()
    worker_2.wait_for("Sent result chunk for client CLI2")
    os.kill(worker_3.pid, signal.SIGCONT)
    worker_3.wait_for(SUCCESS_1)
    worker_3.wait_for(SUCCESS_2)


def test_the_programs_import_nothing_but_pika_the_standard_library_and_durable() -> None:
    imports = {
        line.split()[1].split(".")[0]
        for script in STATEFUL.glob("*.py")
        for line in script.read_text().splitlines()
        if line.startswith(("import ", "from ")) and not line.startswith("from chaoskit.durable.")
    }
    assert "chaoskit" not in imports
    assert imports <= {"__future__", "amqp", "pika"} | {
        *("collections", "contextlib", "json", "os", "random", "signal", "sys", "time", "types", "typing"),
    }
