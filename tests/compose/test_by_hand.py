"""A pipeline of containers by hand: up, ps, logs, kill, restart, what is in its files, also in a dead container's."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from chaoskit import bundled
from chaoskit.runtime.compose.labels import OWNER, owner

from .commands import Chaoskit, wait_until

CHUNKS = 1000
SERVICE = "com.docker.compose.service"

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("engine")]


@pytest.fixture
def by_hand(chaoskit: Chaoskit) -> Iterator[Chaoskit]:
    yield chaoskit
    chaoskit("down")


def ok(chaoskit: Chaoskit, *args: str) -> str:
    done = chaoskit(*args)
    assert done.code == 0, done.text
    return done.out


def row(chaoskit: Chaoskit, program: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(ok(chaoskit, "ps", "--json"))["programs"]
    return next(row for row in rows if row["program"] == program)


def running(client: docker.DockerClient, chaoskit: Chaoskit, service: str) -> list[str]:
    """The running containers of a service in what this test has up."""
    up = json.loads((chaoskit.directory / ".chaoskit/up").read_bytes())
    mine = [container for container in client.containers.list() if container.labels.get(OWNER) == owner(up["pid"])]
    return [container.name for container in mine if container.labels.get(SERVICE) == service]


def rows_of(chaoskit: Chaoskit, client_id: str) -> int | None:
    """How many rows the worker has of a client; None when it has none, yet or any more."""
    done = chaoskit("inspect-metadata", client_id, "--json")
    (file,) = json.loads(done.out)["files"] if done.code == 0 else [{"rows": None}]
    return file["rows"] and int(file["rows"]["unique"])


def test_a_worker_is_killed_looked_into_and_started_again_while_chunks_flow(by_hand: Chaoskit) -> None:
    chunks = ("--set", f"NUM_CHUNKS={CHUNKS}", "--set", f"EXPECTED_CHUNKS={CHUNKS}")
    assert "stateful is up" in ok(by_hand, "up", "-d", "stateful", "--runtime", "compose", *chunks)
    wait_until("rows of CLI1", lambda: rows_of(by_hand, "CLI1"))
    assert "it stays dead" in ok(by_hand, "kill", "worker-2")
    assert row(by_hand, "worker-2")["state"] == "dead"
    rows = rows_of(by_hand, "CLI1")
    assert rows is not None
    assert 0 < rows < CHUNKS
    assert rows_of(by_hand, "CLI1") == rows, "nobody writes it"
    assert "worker-2 was started" in ok(by_hand, "restart", "worker-2")
    wait_until("both results", lambda: ok(by_hand, "logs", "worker-3").count("SUCCESS") == 2)
    assert f"Rebuilt state for client CLI1 ({rows} unique rows)" in ok(by_hand, "logs", "worker-2")
    assert row(by_hand, "worker-2")["life"] == 1
    ok(by_hand, "check-metadata")
    assert "stateful is down" in ok(by_hand, "down")


LOOPING = """\
  looping:
    <<: *program
    command: [no-such-role]
    restart: always

networks:
"""


@pytest.fixture
def orders(chaoskit: Chaoskit) -> str:
    """go-worker-compose with one more program, which the engine starts again and again."""
    folder = chaoskit.directory / "orders"
    shutil.copytree(bundled.scenarios_dir() / "go-worker-compose", folder)
    compose, scenario = folder / "docker-compose.yaml", folder / "scenario.yaml"
    compose.write_text(compose.read_text().replace("networks:\n  backend", LOOPING + "  backend"))
    scenario.write_text(scenario.read_text().replace("programs:\n", "programs:\n  looping: {}\n"))
    return str(scenario)


def waits_for_the_engine(found: dict[str, Any]) -> bool:
    """Whether the last life is over and the engine is to begin the next one; on a slow machine it was given up."""
    return found["state"] in ("up", "dead") and found["exit_code"] is not None and int(found["life"]) >= 5


@pytest.mark.soak
def test_what_the_engine_starts_again_stays_dead_when_it_is_killed_by_hand(
    client: docker.DockerClient, by_hand: Chaoskit, orders: str
) -> None:
    ok(by_hand, "up", "-d", orders)
    wait_until("seconds between two lives", lambda: waits_for_the_engine(row(by_hand, "looping")))
    assert "looping had died by itself and stays dead" in ok(by_hand, "kill", "looping")
    killed = row(by_hand, "looping")
    assert (killed["state"], by_hand("kill", "looping").code) == ("dead", 2)
    assert row(by_hand, "totals")["state"] == "up"
    ok(by_hand, "kill", "totals")
    assert running(client, by_hand, "totals") == [] != running(client, by_hand, "audit")
    assert "totals was started" in ok(by_hand, "restart", "totals")
    assert len(running(client, by_hand, "totals")) == 1
    assert "totals was stopped and started" in ok(by_hand, "restart", "totals")
    found = row(by_hand, "totals")
    assert (found["state"], found["life"]) == ("up", 2)
    wait_until("the end of the source", lambda: row(by_hand, "source")["state"] == "finished")
    assert "source was started" in ok(by_hand, "restart", "source"), "its policy is `no`"
    assert running(client, by_hand, "looping") == []
    restarted = ok(by_hand, "restart", "looping")
    assert "looping was started" in restarted
    assert f"life {killed['life'] + 1}\n" in restarted
    assert "environment-lost" not in (by_hand.directory / ".chaoskit/latest/journal.jsonl").read_text()
