"""`chaoskit run` and `replay` on Compose and a real RabbitMQ: green, exact, the same points as on this machine."""

from pathlib import Path

import pytest
import yaml

from .commands import Chaoskit, Finished
from .planting import planted

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("engine")]

SOAK_SEEDS = 10
WANTED = {"stateful": ("--kills", "3"), "partition-writes": ("--kills", "5", "--duplicates", "3")}


def assert_all_exact(done: Finished, kills: int, copies: bool = False) -> None:
    faults = done.report["faults"]
    assert sum(fault["fault"] == "kill" for fault in faults) == kills
    # Two copies of one message are one step.
    assert (len(faults) > kills) == copies
    assert all(fault["fired"] and fault["exact"] for fault in faults), faults
    assert {verdict["outcome"] for verdict in done.report["verdicts"]} == {"SUCCESS"}
    assert done.report["runtime"] == "compose"
    assert done.report["control"]["result"] == "pass"


def test_stateful_survives_three_exact_kills_which_fall_at_the_same_points_on_this_machine(chaoskit: Chaoskit) -> None:
    done = chaoskit.green("run", "stateful", *WANTED["stateful"], "--runtime", "compose", "--seed", "1")
    assert_all_exact(done, 3)
    assert done.report["restarts"] == {"worker-2": 3}
    run_dir = chaoskit.directory / done.report["run_dir"]
    assert (run_dir / "data" / "worker-2" / "metadata" / "done").is_dir()
    printed = (run_dir / "logs" / "worker-2.log").read_text()
    assert printed.count("Worker 2: Rebuilding state from metadata...") == 4
    here = chaoskit.green("run", "stateful", "--plan", str(run_dir / "plan.yaml"), "--no-control", "--runtime", "local")
    assert here.points == done.points, "the plan found on Compose fell elsewhere on this machine"


@pytest.mark.soak
def test_partition_writes_survives_five_exact_kills_and_three_copies(chaoskit: Chaoskit) -> None:
    arguments = WANTED["partition-writes"]
    done = chaoskit.green("run", "partition-writes", *arguments, "--runtime", "compose", "--seed", "1")
    assert_all_exact(done, 5, copies=True)
    files = chaoskit.directory / done.report["run_dir"] / "data" / "worker-2" / "partitions"
    assert len(list(files.glob("TEST-users-partition-00[0-4].csv"))) == 5


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", WANTED)
def test_ten_seeds_are_green_and_exact(chaoskit: Chaoskit, scenario: str) -> None:
    for seed in range(1, SOAK_SEEDS + 1):
        done = chaoskit.green("run", scenario, *WANTED[scenario], "--runtime", "compose", "--seed", str(seed))
        assert_all_exact(done, int(WANTED[scenario][1]), copies="--duplicates" in WANTED[scenario])


@pytest.mark.soak
def test_a_plan_found_on_this_machine_hits_the_same_points_on_compose(chaoskit: Chaoskit) -> None:
    found = chaoskit.green("run", "stateful", "--kills", "3", "--seed", "7", "--runtime", "local")
    plan = str(Path(found.report["run_dir"]) / "plan.yaml")
    again = chaoskit.green("run", "stateful", "--plan", plan, "--no-control", "--runtime", "compose")
    assert again.points == found.points
    assert [written for _, written in again.points if written is not None], "no kill fell inside a write"


@pytest.mark.soak
def test_a_run_on_compose_is_replayed_there(chaoskit: Chaoskit) -> None:
    found = chaoskit.green("run", "stateful", "--kills", "1", "--seed", "3", "--runtime", "compose")
    again = chaoskit.green("replay", found.report["run_dir"])
    assert (again.report["runtime"], again.points) == ("compose", found.points)


@pytest.mark.soak
def test_a_planted_bug_is_red_with_the_same_plan_on_both(chaoskit: Chaoskit) -> None:
    """The worker forgets at its start the clients that are ready, so a kill between write and publish loses one."""
    scenario = str(planted("stateful/s07_recovery_deletes_ready.py", chaoskit.directory / "bug"))
    steps = [{"kill": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 3, "when": "after"}}]
    (chaoskit.directory / "plan.yaml").write_text(yaml.safe_dump({"seed": 0, "steps": steps}))
    outcomes = {}
    for runtime in ("local", "compose"):
        arguments = ("--plan", "plan.yaml", "--set", "NUM_CHUNKS=3", "--set", "EXPECTED_CHUNKS=3", "--json")
        done = chaoskit("run", scenario, *arguments, "--runtime", runtime)
        assert done.code == 1, done.text
        outcomes[runtime] = {verdict["id"]: verdict["outcome"] for verdict in done.report["verdicts"]}, done.points
    assert outcomes["local"] == outcomes["compose"]
    assert outcomes["compose"][0] == {"CLI1": "MISSING", "CLI2": "SUCCESS"}


@pytest.mark.soak
def test_runs_at_the_same_time_do_not_disturb_each_other(chaoskit: Chaoskit) -> None:
    directories = [chaoskit.directory / name for name in ("one", "two")]
    for directory in directories:
        directory.mkdir()
    seeds = {directory: str(seed) for seed, directory in enumerate(directories, 11)}
    side_by_side = {directory: Chaoskit(directory) for directory in directories}
    started = {
        directory: command.popen(
            "run", "stateful", "--kills", "2", "--seed", seeds[directory], "--runtime", "compose", "--json"
        )
        for directory, command in side_by_side.items()
    }
    for directory, command in side_by_side.items():
        chaoskit.owners |= command.owners
        done = command.finish(started[directory], 300)
        assert done.code == 0, done.text
        assert_all_exact(done, 2)
