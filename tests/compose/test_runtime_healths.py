"""Health checks of what stands behind the programs: found healthy as early as ever, and asked seldom after that."""

from typing import Any

import docker
import pytest

from chaoskit.runtime.compose import labels
from chaoskit.runtime.compose.healths import seldom

from .commands import Chaoskit, wait_until

CHECK: dict[str, Any] = {"test": ["CMD", "true"], "timeout": "5s", "interval": "1s", "retries": 120}


def test_what_was_asked_each_second_is_asked_so_only_at_the_start() -> None:
    changed = seldom({**CHECK, "start_period": "1m30s"})
    assert (changed["start_interval"], changed["interval"]) == ("1s", "60s")
    assert changed["start_period"] == "210s", "the start and all of its attempts"
    assert (changed["test"], changed["timeout"]) == (CHECK["test"], CHECK["timeout"])


@pytest.mark.parametrize(
    "fields",
    [{"interval": None}, {"interval": "1m0s"}, {"interval": "2h"}, {"disable": True}, {"start_interval": "5s"}],
)
def test_what_is_seldom_or_off_or_has_a_start_of_its_own_stays(fields: dict[str, Any]) -> None:
    check = {**CHECK, **fields}
    assert seldom(check) == check


@pytest.mark.timeout(120)
@pytest.mark.soak
def test_the_broker_of_a_run_is_healthy_and_is_left_alone_then(client: docker.DockerClient, chaoskit: Chaoskit) -> None:
    if tuple(map(int, str(client.api.api_version).split("."))) < (1, 44):
        pytest.skip("this engine knows no interval for the start")
    process = chaoskit.popen("run", "stateful", "--kills", "1", "--runtime", "compose")
    found: list[dict[str, Any]] = []

    def healthy() -> bool:
        mine = {"label": [f"{labels.OWNER}={next(iter(chaoskit.owners))}", "com.docker.compose.service=rabbitmq"]}
        found[:] = [client.api.inspect_container(it["Id"]) for it in client.api.containers(filters=mine)]
        return bool(found) and found[0]["State"]["Health"]["Status"] == "healthy"

    wait_until("a healthy broker", healthy, 60)
    check = found[0]["Config"]["Healthcheck"]
    assert (check["StartInterval"], check["Interval"]) == (1_000_000_000, 60_000_000_000)
    assert chaoskit.finish(process).code == 0
