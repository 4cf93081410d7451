"""A worker in Go, a static program: what it loses by acknowledging too early is found, without a change to it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chaoskit import bundled

pytestmark = [
    pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed: apt-get install golang-go"),
    pytest.mark.timeout(240),
]

SCENARIO = """
name: orders
parameters: {ORDERS: 2, PAUSE_MS: 10, ACK: first}
programs:
  totals: {command: [./start, totals], data: ledger}
  audit: {command: [./start, audit]}
  source: {command: [./start, source], after: [totals, audit]}
target: totals
verifier: {program: audit, expect: [ada, grace]}
"""
# The program has names of its own for what chaoskit's local runtime tells it.
START = """#!/bin/sh
export BROKER="$RABBITMQ_HOST:$RABBITMQ_PORT" BROKER_USER="$RABBITMQ_USER" BROKER_PASSWORD="$RABBITMQ_PASS"
export DATA_DIR="$WORKER_DATA_DIR"
exec ./orders "$1"
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static executable, built from the sources of the Compose example."""
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(folder / "cache"), "GOFLAGS": "-mod=mod"}
    command = ["go", "build", "-trimpath", "-o", str(folder / "orders"), "."]
    sources = bundled.scenarios_dir() / "go-worker-compose"
    subprocess.run(command, cwd=sources, env=environment, check=True, capture_output=True, timeout=200)
    return folder / "orders"


@pytest.fixture
def scenario(program: Path, empty: Path) -> str:
    folder = empty / "orders"
    folder.mkdir()
    shutil.copy(program, folder / "orders")
    (folder / "start").write_text(START)
    (folder / "start").chmod(0o755)
    (folder / "scenario.yaml").write_text(SCENARIO)
    return str(folder)


def all_survived(done: Any, least: int) -> None:
    assert done.code == 0, done.text
    points = done.report["points"]
    assert points["found"] == points["run"] == points["survived"] >= least


def test_a_worker_that_writes_before_it_acknowledges_survives_kills_in_its_ledger(chaoskit: Any, scenario: str) -> None:
    few = ("--set", "ACK=last", "--set", "ORDERS=1", "--faults", "kill", "--only", "*:ledger.csv#*")
    all_survived(chaoskit("explore", scenario, *few, "--json", timeout_s=120), 10)


@pytest.mark.soak
def test_a_worker_that_writes_before_it_acknowledges_survives_everything(chaoskit: Any, scenario: str) -> None:
    done = chaoskit("explore", scenario, "--set", "ACK=last", "--json", timeout_s=200)
    all_survived(done, 80)
    assert {"create", "fsync", "send", "write"} <= {row["op"] for row in done.report["coverage"]}


def test_a_worker_that_acknowledges_first_loses_a_total_at_the_byte_that_is_shown(chaoskit: Any, scenario: str) -> None:
    only = ("--faults", "kill", "--only", "*write:ledger.csv#3*")
    done = chaoskit("explore", scenario, *only, "--max-failures", "1", "--json", timeout_s=120)
    assert done.code == 1, done.text
    failure = done.report["failures"][0]
    assert "write:ledger.csv#3" in failure["plan"][0]
    assert {verdict["outcome"] for verdict in failure["verdicts"]} >= {"MISSING"}
