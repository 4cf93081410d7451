"""The Compose files by themselves, on a real engine with a real RabbitMQ: no part of chaoskit runs here.

Needs an engine that has, or can pull, the images that the files name; skipped where there is none.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit import bundled

from .conftest import COMPOSE_DIR, Project

SCENARIOS = ("stateful", "partition-writes")
Make = Callable[..., Project]
Configs = dict[str, dict[str, Any]]

# Pulling and building come on top the first time.
pytestmark = [pytest.mark.timeout(420), pytest.mark.usefixtures("engine")]

STATEFUL_LINES = """\
Worker 2: Rebuilding state from metadata...
Worker 2: Processing chunk 1 for client CLI1
Worker 2: Client CLI1 not ready yet (1/3 chunks, sum: 10)
Worker 2: Client CLI1 is ready! Aggregated sum: 60
Worker 2: Sent result chunk for client CLI1 (sum: 60)
Worker 3: Expected sum for client CLI1: 60
Worker 3: SUCCESS [CLI1] - Expected: 60, Received: 60
Worker 3: SUCCESS [CLI2] - Expected: 60, Received: 60""".splitlines()


def config(project: Project, *args: str) -> dict[str, Any]:
    """The files as Compose understands them."""
    found: dict[str, Any] = json.loads(project(*args, "config", "--format", "json"))
    return found


def in_image(image: str, *command: str) -> str:
    """What a command prints in a new container of the image, which is gone afterwards."""
    done = subprocess.run(["docker", "run", "--rm", image, *command], capture_output=True, text=True, timeout=60)
    return (done.stdout + done.stderr).strip()


def killed_while_chunks_flow(project: Project, progress: str) -> None:
    """Kill worker-2 when it has printed `progress`, look that it is dead and unfinished, start it again."""
    up = project.follow("up", "--build")
    up.wait_for_text(progress)
    project("kill", "worker-2")
    state = project.state_of("worker-2")
    assert (state["State"], state["ExitCode"]) == ("exited", 137)
    project("start", "worker-2")


def test_stateful_alone_prints_the_documented_lines(project: Make) -> None:
    pipeline = project("stateful")
    up = pipeline.follow("up", "--build")
    up.wait_for_text("SUCCESS [CLI1]")
    up.wait_for_text("SUCCESS [CLI2]")
    assert pipeline.wait_until_exited("test-runner") == 0
    printed = pipeline.lines_of("worker-2") + pipeline.lines_of("worker-3")
    assert [line for line in STATEFUL_LINES if line not in printed] == []
    assert not any("FAILURE" in line for line in printed)
    asked = "rabbit_deprecated_features:is_permitted(transient_nonexcl_queues)."
    assert pipeline("exec", "rabbitmq", "rabbitmqctl", "--quiet", "eval", asked).strip() == "true"


def test_a_stateful_worker_killed_by_hand_goes_on_where_it_was(project: Make) -> None:
    pipeline = project("stateful", NUM_CHUNKS="300", EXPECTED_CHUNKS="300")
    killed_while_chunks_flow(pipeline, "Processing chunk 20 for client CLI1")
    verifier = pipeline.follow("logs", "--follow", "--no-color", "worker-3")
    verifier.wait_for_text("SUCCESS [CLI1] - Expected: 451500, Received: 451500")
    verifier.wait_for_text("SUCCESS [CLI2] - Expected: 451500, Received: 451500")
    printed = "\n".join(pipeline.lines_of("worker-2"))
    rebuilt = re.findall(r"Rebuilt state for client CLI1 \((\d+) unique rows\)", printed)
    assert len(rebuilt) == 1
    assert 20 <= int(rebuilt[0]) < 300
    assert pipeline.wait_until_exited("test-runner") == 0


@pytest.mark.soak
def test_a_partition_worker_killed_by_hand_writes_every_row_once(project: Make) -> None:
    pipeline = project("partition-writes", NUM_PARTITIONS="10", NUM_CHUNKS="100")
    killed_while_chunks_flow(pipeline, "from chunk TEST00000005")
    verifier = pipeline.follow("logs", "--follow", "--no-color", "worker-3")
    verifier.wait_for("100 verdicts", lambda lines: len(verdicts(lines)) >= 100)
    assert set(verdicts(verifier.lines).values()) == {"SUCCESS"}
    assert any("Repairing partition files" in line for line in pipeline.lines_of("worker-2")[1:])
    names = pipeline("exec", "worker-3", "ls", "/app/worker-data/partitions").split()
    assert names == [f"TEST-users-partition-{number:03d}.csv" for number in range(10)]
    assert "Read-only" in read_only_error(pipeline)


def verdicts(lines: list[str]) -> dict[str, str]:
    found = (re.search(r"(SUCCESS|FAILURE) \[([^\]]+)\]", line) for line in lines)
    return {match[2]: match[1] for match in found if match}


def read_only_error(pipeline: Project) -> str:
    command = pipeline.command("exec", "worker-3", "touch", "/app/worker-data/new")
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_image_runs_as_nobody_special_and_holds_no_tester(project: Make, scenario: str) -> None:
    pipeline = project(scenario)
    pipeline("build", "--quiet")
    image = pipeline.name
    assert in_image(image, "id", "-u") == "1000"
    assert in_image(image, "sh", "-c", "cd chaoskit && echo *") == "durable"
    assert in_image(image, "sh", "-c", "touch /app/worker_2.py 2>&1; touch /app/worker-data/mine && echo written") == (
        "touch: cannot touch '/app/worker_2.py': Permission denied\nwritten"
    )
    label = subprocess.run(
        ["docker", "image", "inspect", "--format", '{{index .Config.Labels "chaoskit"}}', image],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert label.stdout.strip() == "image"


@pytest.fixture(scope="module")
def configs(engine: None) -> dict[str, dict[str, Any]]:
    """The file of each scenario as Compose understands it when no variable is set."""
    return {scenario: config(Project(scenario, {})) for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_projects_have_nothing_that_two_of_them_would_fight_for(configs: Configs, scenario: str) -> None:
    services = configs[scenario]["services"]
    assert {"rabbitmq", "worker-2", "worker-3", "test-runner"} <= set(services)
    for service in services.values():
        assert "ports" not in service
        assert "container_name" not in service
        assert service["restart"] == "no"
        assert all(mount["type"] == "volume" for mount in service.get("volumes", []))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_parameters_have_the_same_defaults_as_in_the_scenario(configs: Configs, scenario: str) -> None:
    declared = {name: str(value) for name, value in bundled.find(scenario).parameters.items()}
    seen: dict[str, str] = {}
    for service in configs[scenario]["services"].values():
        environment = service.get("environment", {})
        seen |= {name: value for name, value in environment.items() if name in declared}
        assert {name: value for name, value in environment.items() if declared.get(name, value) != value} == {}
    assert seen == declared


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_parameters_come_from_the_environment(project: Make, scenario: str) -> None:
    declared = bundled.find(scenario).parameters
    pipeline = project(scenario, **dict.fromkeys(declared, "7"))
    environments = [service.get("environment", {}) for service in config(pipeline)["services"].values()]
    assert {name for found in environments for name in found if found[name] == "7"} == set(declared)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_commands_and_queues_are_those_of_the_scenario(configs: Configs, scenario: str) -> None:
    services = configs[scenario]["services"]
    for name, program in bundled.find(scenario).programs.items():
        assert services[name]["command"] == list(program.command)
        assert program.environment.items() <= services[name]["environment"].items()


def test_both_files_have_the_same_broker(configs: Configs) -> None:
    one, other = (configs[scenario] for scenario in SCENARIOS)
    assert one["services"]["rabbitmq"] == other["services"]["rabbitmq"]
    assert one["configs"]["rabbitmq"]["content"] == other["configs"]["rabbitmq"]["content"]


def test_an_override_can_start_a_program_through_a_launcher(project: Make, tmp_path: Path) -> None:
    override = tmp_path / "override.yaml"
    override.write_text(
        "services:\n  worker-2:\n    entrypoint: [python, /tap/launch.py]\n"
        "    environment: {RABBITMQ_HOST: proxy}\n    labels: {of: me}\n"
    )
    worker = config(project("stateful"), "--file", str(override))["services"]["worker-2"]
    assert worker["entrypoint"] == ["python", "/tap/launch.py"]
    assert worker["command"] == ["python", "worker_2.py"]
    assert worker["labels"] == {"of": "me"}
    assert worker["environment"]["RABBITMQ_HOST"] == "proxy"
    assert worker["environment"]["INPUT_QUEUE"] == "queue-1-2"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_images_build_from_an_installed_package_too(project: Make, tmp_path: Path, scenario: str) -> None:
    # The wheel has both folders under chaoskit/_bundled, with links replaced by what they point to.
    shutil.copytree(COMPOSE_DIR, tmp_path / "_bundled" / "compose")
    shutil.copytree(bundled.scenarios_dir(), tmp_path / "_bundled" / "scenarios")
    shutil.copytree(COMPOSE_DIR.parent / "chaoskit" / "durable", tmp_path / "durable")
    installed = project(scenario, folder=tmp_path / "_bundled" / "compose", CHAOSKIT_DURABLE="../../durable")
    installed("build", "--quiet")
    programs = in_image(installed.name, "sh", "-c", "echo *.py").split()
    imports = in_image(installed.name, "python", "-c", "import worker_2; print(worker_2.NAME)")
    assert programs == sorted(path.name for path in (bundled.scenarios_dir() / scenario).glob("*.py"))
    assert imports == "Worker 2"
