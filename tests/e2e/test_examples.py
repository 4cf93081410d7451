"""The bundled examples of lone programs do what their summaries say: what survives and what does not."""

import shutil
from typing import Any

import pytest

needs_sqlite = pytest.mark.skipif(
    shutil.which("sqlite3") is None, reason="sqlite3 is not installed: apt-get install it"
)
POWER_LOSS = ("--faults", "power-loss", "--json")


def all_survived(done: Any, least: int) -> None:
    assert done.code == 0, done.text
    points = done.report["points"]
    assert points["found"] == points["run"] == points["survived"] >= least


def details(done: Any) -> list[str]:
    assert done.code == 1, done.text
    return [failure["verdicts"][0]["detail"] for failure in done.report["failures"]]


def test_the_naive_json_file_is_torn_at_a_byte_that_is_shown(chaoskit: Any) -> None:
    done = chaoskit("explore", "json-file", "--faults", "kill", "--only", "inside*#2*", "--json")
    assert len(details(done)) == 3
    assert all("notes.json cannot be read" in detail for detail in details(done))
    assert all("inside write:notes.json#2@" in failure["plan"][0] for failure in done.report["failures"])


def test_the_form_with_a_rename_survives_kills_short_writes_and_power_losses(chaoskit: Any) -> None:
    done = chaoskit("explore", "json-file-atomic", "--set", "NOTES=2", "--json")
    all_survived(done, 40)
    assert {"fsync", "rename", "write"} <= {row["op"] for row in done.report["coverage"]}


@needs_sqlite
def test_sqlite_survives_kills_around_the_pages_of_its_database(chaoskit: Any) -> None:
    all_survived(chaoskit("explore", "sqlite", "--faults", "kill", "--only", "*:ledger.db#*", "--json"), 50)


@needs_sqlite
def test_sqlite_survives_power_losses_as_its_manual_says_and_not_without_waiting_for_the_disk(chaoskit: Any) -> None:
    all_survived(chaoskit("explore", "sqlite", *POWER_LOSS), 100)
    off = chaoskit("explore", "sqlite", *POWER_LOSS, "--set", "SYNCHRONOUS=OFF", "--max-failures", "1")
    assert "found after a restart" in details(off)[0] or "ledger.db" in details(off)[0]


@needs_sqlite
@pytest.mark.soak
def test_sqlite_keeps_the_last_commit_through_a_power_loss_with_extra_only(chaoskit: Any) -> None:
    all_survived(chaoskit("explore", "sqlite", "--faults", "kill", "--set", "MAY_LOSE=0", "--json"), 200)
    extra = ("--set", "SYNCHRONOUS=EXTRA", "--set", "MAY_LOSE=0")
    all_survived(chaoskit("explore", "sqlite", *POWER_LOSS, *extra), 100)
    full = chaoskit("explore", "sqlite", *POWER_LOSS, "--set", "MAY_LOSE=0")
    assert all("found after a restart" in detail for detail in details(full))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: apt-get install nodejs")
def test_a_program_in_node_survives_kills_and_power_losses_in_its_threads(chaoskit: Any) -> None:
    all_survived(chaoskit("explore", "node-notes", "--faults", "kill,power-loss", "--json"), 35)


def test_a_shell_script_that_syncs_survives_everything(chaoskit: Any) -> None:
    all_survived(chaoskit("explore", "shell-counter", "--json"), 40)


def test_a_shell_script_that_does_not_sync_survives_kills_only(chaoskit: Any) -> None:
    lazy = ("explore", "shell-counter", "--set", "SYNC=0", "--json", "--only", "write:ledger.txt#[23]*")
    all_survived(chaoskit(*lazy, "--faults", "kill"), 8)
    assert "found after a restart" in details(chaoskit(*lazy, "--faults", "power-loss", "--max-failures", "1"))[0]
