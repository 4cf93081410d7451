"""`chaoskit explore` on Compose: the same crash points as on this machine, and the same bug found by the same plan."""

import json
from pathlib import Path

import docker
import msgspec
import pytest

from chaoskit import journal
from chaoskit.engine.tally import Record
from chaoskit.planning.experiments import survey
from chaoskit.runtime.compose import labels

from .commands import Chaoskit, Finished, wait_until
from .planting import planted

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("engine")]

FIRST_ROW = ("--faults", "kill,power-loss", "--only", "write:metadata/CLI1.csv#1")


def experiments(chaoskit: Chaoskit, done: Finished) -> list[str]:
    """The names of the last steps of all experiments that were made.

    A place that only a recovery has is visited once, behind whichever of the experiments that meet it is over first.
    """
    lines = (chaoskit.directory / done.report["run_dir"] / "experiments.jsonl").read_bytes().splitlines()
    return sorted(msgspec.json.decode(line, type=Record).id.rpartition(" + ")[2] for line in lines)


def points(chaoskit: Chaoskit, done: Finished) -> list[tuple[str, int]]:
    """The crash points that the control run showed, with the sizes of their writes."""
    events = journal.read(chaoskit.directory / done.report["run_dir"] / "control" / "journal.jsonl")
    return [(place.name, place.size) for place in survey(events, ["worker-2"])]


def both(chaoskit: Chaoskit, *arguments: str) -> dict[str, Finished]:
    return {
        runtime: chaoskit.green("explore", "stateful", *arguments, "--runtime", runtime, "--jobs", "2")
        for runtime in ("local", "compose")
    }


def assert_the_same(chaoskit: Chaoskit, done: dict[str, Finished]) -> None:
    local, compose = done["local"], done["compose"]
    assert points(chaoskit, compose) == points(chaoskit, local)
    assert experiments(chaoskit, compose) == experiments(chaoskit, local)
    for finished in done.values():
        counted = finished.report["points"]
        assert counted["found"] == counted["run"] == counted["survived"] > 0


def test_both_runtimes_have_the_same_crash_points_and_survive_them(chaoskit: Chaoskit) -> None:
    done = both(chaoskit, *FIRST_ROW)
    assert_the_same(chaoskit, done)
    assert len(points(chaoskit, done["compose"])) > 40


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", ["stateful", "partition-writes"])
def test_every_crash_point_of_both_scenarios_is_the_same_on_both(chaoskit: Chaoskit, scenario: str) -> None:
    done = {
        runtime: chaoskit.finish(
            chaoskit.popen("explore", scenario, "--runtime", runtime, "--jobs", "2", "--json"), 1700
        )
        for runtime in ("local", "compose")
    }
    assert [finished.code for finished in done.values()] == [0, 0], done["compose"].text
    assert_the_same(chaoskit, done)


@pytest.mark.soak
def test_a_planted_bug_is_found_by_the_same_plans_on_both(chaoskit: Chaoskit) -> None:
    scenario = str(planted("stateful/s01_ack_before_append.py", chaoskit.directory / "bug"))
    found = {}
    for runtime in ("local", "compose"):
        arguments = ("--faults", "kill", "--only", "before*write:metadata/CLI1.csv#2*", "--runtime", runtime, "--json")
        done = chaoskit("explore", scenario, *arguments)
        assert done.code == 1, done.text
        found[runtime] = {
            json.dumps(failure["plan"]): [(verdict["id"], verdict["outcome"]) for verdict in failure["verdicts"]]
            for failure in done.report["failures"]
        }
    assert found["compose"] == found["local"]
    replayed = chaoskit(*done.report["replay"].split()[1:], "--json")
    assert (replayed.code, replayed.report["runtime"]) == (1, "compose"), replayed.text


@pytest.mark.soak
def test_an_exploration_that_was_interrupted_goes_on_where_it_was(chaoskit: Chaoskit) -> None:
    arguments = ("explore", "stateful", *FIRST_ROW, "--runtime", "compose", "--jobs", "1")
    process = chaoskit.popen(*arguments)
    wait_until("two experiments", lambda: made(chaoskit.directory) >= 2, 90)
    process.terminate()
    assert chaoskit.finish(process).code == 130
    before = made(chaoskit.directory)
    done = chaoskit.green(*arguments, "--resume")
    counted = done.report["points"]
    assert counted["found"] == counted["run"] == counted["survived"] == made(chaoskit.directory) > before


@pytest.mark.soak
def test_an_exploration_goes_on_in_another_project_when_one_is_lost(
    client: docker.DockerClient, chaoskit: Chaoskit
) -> None:
    process = chaoskit.popen("explore", "stateful", *FIRST_ROW, "--runtime", "compose", "--jobs", "1", "--json")
    wait_until("two experiments", lambda: made(chaoskit.directory) >= 2, 90)
    running = [it for it in client.api.containers() if it["Labels"].get(labels.OWNER) in chaoskit.owners]
    [agent] = [it["Id"] for it in running if it["Names"][0].endswith("-agent")]
    client.api.kill(agent)
    done = chaoskit.finish(process, 200)
    assert done.code == 0, done.text
    counted = done.report["points"]
    assert counted["found"] == counted["run"] == counted["survived"]


def made(directory: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in directory.glob(".chaoskit/runs/*/experiments.jsonl"))
