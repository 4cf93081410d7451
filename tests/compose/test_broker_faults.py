"""Faults on the broker and on networks with a real RabbitMQ in a container: the same words, the same outcomes.

Each has a control that shows that it was real: what the broker's queues hold before and after, what programs print when
they find no broker, and what a run says when the broker goes and nobody hurt it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import docker
import pytest
import yaml

from chaoskit import bundled
from chaoskit.engine import wiring
from chaoskit.engine.backends import opened
from chaoskit.engine.conduct import Limits
from chaoskit.engine.once import Setup, run_once
from chaoskit.engine.rundir import RunDir
from chaoskit.model.events import BrokerState, EnvironmentLost, LogLine, NetworkState, RunEnded
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtMessage
from chaoskit.runtime.compose import labels

from .commands import Chaoskit, Finished, wait_until
from .conftest import Project

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("engine")]

# The worker gets nothing until every message is in its queue and the broker is hurt.
DELAY = {"delay": "queue-1-2", "at": {"delivered": "queue-1-2", "nth": 1}, "for_s": 30}
WHEN_ALL_ARE_SENT = {"log": "All 6 messages are confirmed"}
SEEDS = 5


def run(chaoskit: Chaoskit, scenario: str, *steps: dict[str, Any]) -> Finished:
    (chaoskit.directory / "given.yaml").write_text(yaml.safe_dump({"seed": 0, "steps": list(steps)}))
    return chaoskit("run", scenario, "--plan", "given.yaml", "--no-control", "--runtime", "compose", "--json")


def outcomes(done: Finished) -> set[str]:
    return {verdict["outcome"] for verdict in done.report["verdicts"]}


def assert_green(done: Finished) -> None:
    assert (done.code, outcomes(done)) == (0, {"SUCCESS"}), done.text
    assert all(fault["fired"] for fault in done.report["faults"])


def broker_states(chaoskit: Chaoskit, done: Finished) -> list[BrokerState]:
    return [event for event in chaoskit.events(done) if isinstance(event, BrokerState)]


def finding_no_broker(chaoskit: Chaoskit, done: Finished, program: str) -> list[str]:
    said = [e.text for e in chaoskit.events(done) if isinstance(e, LogLine) and e.program == program]
    return [text for text in said if "No broker at" in text]


def test_durable_queues_survive_a_kill_and_a_restart_of_the_broker(chaoskit: Chaoskit) -> None:
    done = run(
        chaoskit,
        "stateful-durable",
        DELAY,
        {"broker-kill": "broker", "at": WHEN_ALL_ARE_SENT, "for_s": 0.5},
        {"kill": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 2, "byte": 7}},
        {"broker-restart": "broker", "at": {"published": "queue-2-3", "nth": 1}},
    )
    assert_green(done)
    killed, back, stopped, again = broker_states(chaoskit, done)
    assert [state.up for state in (killed, back, stopped, again)] == [False, True, False, True]
    assert back.queues == {"queue-1-2": 6, "queue-2-3": 0}
    assert back.t_s - killed.t_s >= 0.5
    for program in ("worker-2", "worker-3"):
        assert finding_no_broker(chaoskit, done, program)
    # One that ends in order says so to its clients, and takes less time for it than the engine would leave it.
    assert any("CONNECTION_FORCED" in text for text in finding_no_broker(chaoskit, done, "worker-3"))
    restart = next(fault for fault in done.report["faults"] if fault["fault"] == "broker-restart")
    assert stopped.t_s - restart["t_s"] < 25


@pytest.mark.soak
def test_queues_that_are_not_durable_are_lost_with_their_messages_and_the_run_fails(chaoskit: Chaoskit) -> None:
    done = run(chaoskit, "stateful", DELAY, {"broker-kill": "broker", "at": WHEN_ALL_ARE_SENT, "for_s": 0})
    assert (done.code, outcomes(done)) == (1, {"MISSING"}), done.text
    down, up = broker_states(chaoskit, done)
    # The one that is on its way to worker-2 may be counted or not.
    known = down.queues["queue-1-2"]
    assert known in (5, 6)
    assert up.queues == {}
    assert f"queue-1-2 was gone when the broker came back, with the {known} messages in it" in done.text
    assert not [event for event in chaoskit.events(done) if isinstance(event, EnvironmentLost)]


def test_a_program_loses_its_network_and_gets_it_back(chaoskit: Chaoskit) -> None:
    done = run(
        chaoskit,
        "stateful-durable",
        {"disconnect": "worker-2", "at": {"delivered": "queue-1-2", "nth": 3}, "for_s": 3},
        {"kill": "worker-2", "at": {"time_s": 1.5}},
        {"disconnect": "worker-3", "at": {"published": "queue-2-3", "nth": 1}, "for_s": 0.5},
    )
    assert_green(done)
    states = [event for event in chaoskit.events(done) if isinstance(event, NetworkState)]
    assert {(state.program, state.up) for state in states} == {
        (program, up) for program in ("worker-2", "worker-3") for up in (False, True)
    }
    down, up = (state.t_s for state in states if state.program == "worker-2")
    assert up - down >= 3
    # The life that began in between had no name service either, let alone a broker.
    assert any("resolution" in text or "not known" in text for text in finding_no_broker(chaoskit, done, "worker-2"))


def test_a_broker_that_goes_without_being_hurt_is_a_problem_of_the_environment(
    chaoskit: Chaoskit, client: docker.DockerClient
) -> None:
    """The control of all others: the same broker, killed in the same way, but not by the plan."""
    steps = [{"pause": "worker-2", "at": {"published": "queue-1-2", "nth": 1}, "for_s": 8}]
    (chaoskit.directory / "given.yaml").write_text(yaml.safe_dump({"steps": steps}))
    process = chaoskit.popen("run", "stateful-durable", "--plan", "given.yaml", "--no-control", "--runtime", "compose")
    runs = chaoskit.directory / ".chaoskit" / "runs"

    def is_paused() -> bool:
        return any('"type":"fault"' in path.read_text() for path in runs.glob("*/journal.jsonl"))

    wait_until("the pause of worker-2", lambda: process.poll() is not None or is_paused(), 120)
    client.api.kill(broker_of(client, process.pid))
    done = chaoskit.finish(process)
    assert done.code == 3, done.text
    assert "broker lost" in done.text


def broker_of(client: docker.DockerClient, pid: int) -> str:
    filters = {"label": [f"{labels.OWNER}={labels.owner(pid)}", "com.docker.compose.service=rabbitmq"]}
    (container,) = client.api.containers(filters=filters)
    return str(container["Id"])


@pytest.mark.soak
def test_a_broker_that_a_run_left_down_is_there_for_the_next_one(client: docker.DockerClient, tmp_path: Path) -> None:
    """An interrupted run does not wait for its faults to be over; the project, and its broker, serve the next run."""
    scenario = bundled.find("stateful-durable")
    kill = Step("broker-kill", "broker", AtMessage("delivered", "queue-1-2", 2), {"for_s": 600.0})

    async def ends() -> list[str]:
        backend = wiring.backend("compose", scenario, lambda text, passing: None)
        reasons = []
        async with opened(backend):
            for n, (plan, limit_s) in enumerate(((Plan(0, (kill,)), 5.0), (Plan(0), 60.0))):
                run_dir = RunDir(tmp_path / str(n))
                setup = Setup(scenario, plan, run_dir, limits=Limits(timeout_s=limit_s), backend=backend)
                ended = (await run_once(setup))[-1]
                assert isinstance(ended, RunEnded)
                reasons.append(ended.reason)
        return reasons

    assert asyncio.run(ends()) == ["timeout", "complete"]


@pytest.mark.soak
def test_the_durable_file_alone_survives_its_broker(project: Callable[..., Project]) -> None:
    pipeline = project("stateful-durable", NUM_CHUNKS="200", EXPECTED_CHUNKS="200")
    up = pipeline.follow("up", "--build")
    up.wait_for_text("Processing chunk 20 for client CLI1")
    pipeline("kill", "rabbitmq")
    up.wait_for_text("No broker at")
    pipeline("start", "rabbitmq")
    verifier = pipeline.follow("logs", "--follow", "--no-color", "worker-3")
    for client_id in ("CLI1", "CLI2"):
        verifier.wait_for_text(f"SUCCESS [{client_id}] - Expected: 201000, Received: 201000")


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_seeds_of_broker_faults_are_survived(chaoskit: Chaoskit, tmp_path: Path) -> None:
    for seed in range(1, SEEDS + 1):
        rng = Random(seed)
        steps = [
            {rng.choice(("broker-kill", "broker-restart")): "broker", "at": at, "for_s": round(rng.uniform(0, 1), 2)}
            for at in (
                {rng.choice(("published", "delivered", "acked")): "queue-1-2", "nth": rng.randint(1, 4)},
                {"published": "queue-2-3", "nth": rng.randint(1, 2)},
            )
        ]
        kill = {"kill": "worker-2", "at": {"write": "metadata/CLI2.csv", "nth": rng.randint(1, 3), "byte": "middle"}}
        done = run(chaoskit, "stateful-durable", *steps, kill)
        assert outcomes(done) == {"SUCCESS"}, done.text
        assert done.code in (0, 4), done.text
        assert broker_states(chaoskit, done)[-1].up
