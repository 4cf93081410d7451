"""Faults on the broker and on networks, on the local runtime: what is durable survives, what is not is lost.

Every green run has a control beside it that shows that the fault was real: queues that were gone, broken connections.
"""

import asyncio
import socket
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from chaoskit.model.events import BrokerState, EnvironmentLost, LogLine, Message, NetworkState, ProgramExited
from chaoskit.proxy import FORWARD, Change, Outage, Proxy

CLIENTS = {"CLI1": "SUCCESS", "CLI2": "SUCCESS"}
BROKER_FAULTS = ("broker-kill", "broker-restart")
SEEDS = 20


def plan(*steps: str) -> str:
    return f"steps: [{', '.join(steps)}]"


def broker_states(ran: Any) -> list[BrokerState]:
    return [event for event in ran.events if isinstance(event, BrokerState)]


def lines(ran: Any, program: str, text: str) -> list[str]:
    found = [event.text for event in ran.events if isinstance(event, LogLine) and event.program == program]
    return [line for line in found if text in line]


def when_the_queue_is_full(fault: str) -> str:
    """The worker stands still until every message is in its queue and the broker is hurt."""
    pause = "{pause: worker-2, at: {published: queue-1-2, nth: 1}, for_s: 1}"
    return plan(pause, f"{{{fault}: broker, at: {{log: All 6 messages are confirmed}}, for_s: 0.2}}")


@pytest.mark.parametrize("fault", BROKER_FAULTS)
def test_durable_queues_survive_and_the_broker_was_really_away(run: Any, fault: str) -> None:
    ran = run("stateful-durable", plan=when_the_queue_is_full(fault))
    assert ran.report.exit_code == 0, ran.report
    assert ran.outcomes == CLIENTS
    down, up = broker_states(ran)
    assert (down.up, up.up) == (False, True)
    assert up.t_s - down.t_s >= 0.2
    assert down.queues == up.queues == {"queue-1-2": 6, "queue-2-3": 0}
    assert lines(ran, "worker-2", "No broker at")
    assert lines(ran, "worker-3", "No broker at")


@pytest.mark.parametrize("fault", BROKER_FAULTS)
def test_queues_that_are_not_durable_are_lost_with_their_messages_and_the_run_fails(run: Any, fault: str) -> None:
    ran = run("stateful", plan=when_the_queue_is_full(fault), control=False)
    assert ran.report.exit_code == 1
    assert ran.outcomes == dict.fromkeys(CLIENTS, "MISSING")
    down, up = broker_states(ran)
    assert (down.queues["queue-1-2"], up.queues) == (6, {})
    assert ran.findings("broker") == [
        "queue-1-2 was gone when the broker came back, with the 6 messages in it: it is not durable"
    ]
    assert not [event for event in ran.events if isinstance(event, EnvironmentLost)]


def test_a_killed_broker_never_gets_the_message_that_it_was_killed_at(run: Any) -> None:
    ran = run("stateful-durable", plan=plan("{broker-kill: broker, at: {published: queue-2-3, nth: 1}, for_s: 0.1}"))
    assert ran.report.exit_code == 0, ran.report
    assert broker_states(ran)[1].queues["queue-2-3"] == 0
    assert len(lines(ran, "worker-2", "is ready! Aggregated sum")) == 3
    assert not lines(ran, "worker-3", "Duplicate result")


def test_a_broker_that_ends_in_order_says_so_and_one_that_is_killed_does_not(run: Any) -> None:
    forced = {}
    for fault in BROKER_FAULTS:
        ran = run("stateful-durable", plan=plan(f"{{{fault}: broker, at: {{log: Processing chunk 2}}}}"), control=False)
        assert ran.report.exit_code == 0, ran.report
        forced[fault] = bool(lines(ran, "worker-2", "CONNECTION_FORCED"))
    assert forced == {"broker-kill": False, "broker-restart": True}


def test_the_broker_is_hurt_at_a_time_and_again_and_again(run: Any) -> None:
    for at in ("{time_s: 0.05}", "{every: 300ms, for: 2s}"):
        parameters = {"NUM_CHUNKS": 150, "EXPECTED_CHUNKS": 150}
        steps = plan(f"{{broker-kill: broker, at: {at}, for_s: 0.05}}")
        ran = run("stateful-durable", plan=steps, control=False, parameters=parameters)
        assert ran.report.exit_code == 0, ran.report
        assert len(broker_states(ran)) >= 2


def test_a_second_fault_waits_for_the_broker_to_be_back(run: Any) -> None:
    step = "{broker-kill: broker, at: {delivered: queue-1-2, nth: 2}, for_s: 0.1}"
    ran = run("stateful-durable", plan=plan(step, step), control=False)
    assert ran.report.exit_code == 0, ran.report
    assert [state.up for state in broker_states(ran)] == [False, True, False, True]


def drawn_plan(seed: int) -> str:
    """Two broker faults, a disconnect and a kill inside a write, wherever the seed puts them."""
    rng = Random(seed)

    def message() -> dict[str, Any]:
        queue, count = rng.choice((("queue-1-2", 6), ("queue-2-3", 2)))
        return {rng.choice(("published", "delivered", "acked")): queue, "nth": rng.randint(1, count)}

    steps: list[dict[str, Any]] = [
        {rng.choice(BROKER_FAULTS): "broker", "at": message(), "for_s": round(rng.uniform(0, 0.2), 3)} for _ in range(2)
    ]
    steps.append({"disconnect": "worker-2", "at": message(), "for_s": round(rng.uniform(0.05, 0.2), 3)})
    write = {"write": f"metadata/CLI{rng.randint(1, 2)}.csv", "nth": rng.randint(1, 3), "byte": rng.randint(0, 9)}
    steps.append({"kill": "worker-2", "at": write})
    return yaml.safe_dump({"seed": seed, "steps": steps})


def assert_green_whatever_the_seed_hurts(run: Any, seed: int) -> None:
    ran = run("stateful-durable", plan=drawn_plan(seed), control=False)
    assert ran.outcomes == CLIENTS, ran.report
    # A message that the plan waits for may be the last one, which is there before the broker is back.
    late = [fault for fault in ran.report.faults if not fault.fired]
    assert ran.report.exit_code == (4 if late else 0), ran.report
    assert sum(fault.fired for fault in ran.report.faults) >= 3
    assert broker_states(ran)[-1].up


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_broker_faults_with_a_disconnect_and_a_kill_are_survived(run: Any, seed: int) -> None:
    assert_green_whatever_the_seed_hurts(run, seed)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_twenty_seeds_of_broker_faults_are_survived(run: Any) -> None:
    for seed in range(1, SEEDS + 1):
        assert_green_whatever_the_seed_hurts(run, seed)


# --- networks ---


def messages_between(ran: Any, program: str) -> list[Message]:
    """What the program sent and got while its network was away."""
    down, up = (event.t_s for event in ran.events if isinstance(event, NetworkState))
    return [e for e in ran.events if isinstance(e, Message) and e.program == program and down < e.t_s < up]


def test_a_program_without_a_network_hears_and_says_nothing_and_goes_on_where_it_was(run: Any) -> None:
    ran = run("stateful", plan=plan("{disconnect: worker-2, at: {published: queue-2-3, nth: 1}, for_s: 0.5}"))
    assert ran.report.exit_code == 0, ran.report
    assert ran.outcomes == CLIENTS
    down, up = (event for event in ran.events if isinstance(event, NetworkState))
    assert (down.program, down.up, up.up) == ("worker-2", False, True)
    assert up.t_s - down.t_s >= 0.5
    assert messages_between(ran, "worker-2") == []
    # Nothing was closed, so nothing had to be done again.
    assert not lines(ran, "worker-2", "No broker at")
    assert len(lines(ran, "worker-2", "is ready! Aggregated sum")) == 2


def test_the_others_keep_their_network(run: Any) -> None:
    steps = plan("{disconnect: worker-2, at: {delivered: queue-1-2, nth: 1}, for_s: 0.5}")
    ran = run("stateful", plan=steps, control=False)
    assert ran.report.exit_code == 0, ran.report
    down, up = (event.t_s for event in ran.events if isinstance(event, NetworkState))
    sent = [
        e.t_s for e in ran.events if isinstance(e, Message) and e.program == "test-runner" and e.kind == "published"
    ]
    assert any(down < t_s < up for t_s in sent)


def test_a_life_that_begins_without_a_network_finds_no_broker_until_it_is_back(run: Any) -> None:
    steps = plan(
        "{disconnect: worker-2, at: {log: Processing chunk 1 for client CLI2}, for_s: 3}",
        "{kill: worker-2, at: {log: Client CLI2 not ready yet}}",
    )
    ran = run("stateful", plan=steps, control=False)
    assert ran.report.exit_code == 0, ran.report
    assert lines(ran, "worker-2", "No broker at")
    assert not [event for event in ran.events if isinstance(event, EnvironmentLost)]


def test_two_disconnects_that_overlap_are_one(run: Any) -> None:
    step = "{disconnect: worker-2, at: {log: Processing chunk 1 for client CLI1}, for_s: 0.3}"
    ran = run("stateful", plan=plan(step, step), control=False)
    assert ran.report.exit_code == 4, ran.report
    assert [fault.fired for fault in ran.report.faults] == [True, False]
    assert "was not there to be hurt, or was hurt already" in ran.report.faults[1].note
    assert len([event for event in ran.events if isinstance(event, NetworkState)]) == 2


async def refusal(outage: Outage) -> str:
    """What a proxy says when its program comes and nobody is behind it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[:2]
    heard: asyncio.Queue[Change] = asyncio.Queue()
    proxy = Proxy("worker-2", nobody, lambda seen: FORWARD, on_change=heard.put_nowait, outage=outage)
    await proxy.start()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        async with asyncio.timeout(5):
            change = await heard.get()
        writer.close()
        return change.kind
    finally:
        await proxy.close()


def test_a_broker_that_is_missed_is_a_problem_unless_it_was_hurt() -> None:
    stopping, killed, up_again = Outage(), Outage(), Outage()
    stopping.begin(in_order=True)
    killed.begin(in_order=False)
    up_again.begin(in_order=False)
    up_again.end()
    kinds = [asyncio.run(refusal(outage)) for outage in (Outage(), stopping, killed, up_again)]
    assert kinds == ["refused", "away", "away", "refused"]


# --- stop ---

STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if {stubborn} else signal.SIG_DFL)
lives = pathlib.Path(os.environ["WORKER_DATA_DIR"], "lives")
with lives.open("a") as file:
    file.write("x")
print("life", lives.stat().st_size, flush=True)
if lives.stat().st_size == 1:
    time.sleep(60)
"""
STUBBORN_SCENARIO = """
name: stubborn
programs: {worker: {command: [python, worker.py]}}
target: worker
verifier: {command: [python, -c, "print('looked')"]}
broker: false
"""


@pytest.mark.parametrize(("stubborn", "code"), [(True, -9), (False, -15)])
def test_a_program_that_does_not_heed_sigterm_is_killed_after_the_grace(
    run: Any, tmp_path: Path, stubborn: bool, code: int
) -> None:
    folder = tmp_path / "stubborn"
    folder.mkdir()
    (folder / "worker.py").write_text(STUBBORN.format(stubborn=stubborn))
    (folder / "scenario.yaml").write_text(STUBBORN_SCENARIO)
    grace_s = 0.5 if stubborn else 30
    ran = run(folder, plan=plan(f"{{stop: worker, at: {{log: life 1}}, grace_s: {grace_s}}}"), control=False)
    assert ran.report.exit_code == 0, ran.report
    exits = [event for event in ran.events if isinstance(event, ProgramExited) and event.program == "worker"]
    assert [event.code for event in exits] == [code, 0]
    waited_s = exits[0].t_s - ran.fired[0].t_s
    assert (waited_s >= grace_s) == stubborn


def test_a_program_that_is_stopped_for_good_stays_dead(run: Any) -> None:
    steps = plan("{stop: worker-2, at: {log: Processing chunk 2 for client CLI1}, restart: false}")
    ran = run("stateful", plan=steps, control=False)
    assert ran.report.exit_code == 1
    assert ran.report.restarts == {}
