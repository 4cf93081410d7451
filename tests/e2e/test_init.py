"""`chaoskit init`: good guesses from Compose files, no question where nobody answers, no file written over."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from chaoskit import bundled
from chaoskit.model import scenario as scenarios
from chaoskit.model.errors import UsageError
from chaoskit.model.scenario import Scenario

COMPOSE = Path(__file__).parents[2] / "compose"
WITHIN_S = 60.0
CTRL_C = "\x03"
# What projects look like in the wild: lists for mappings, anchors, a profile, a file of variables, a supervisor.
WILD = """
x-service: &service
  build: {context: .}
  restart: on-failure
  env_file: [settings.env]
services:
  mq:
    image: registry.example/mirror/rabbitmq:3.13-management-alpine
    container_name: shop-mq
    ports: ["5672:5672", "127.0.0.1:15672:15672"]
  db:
    image: postgres:16
  orders:
    <<: *service
    command: /app/orders
    depends_on: [mq, db]
    environment:
      [MQ_URL=amqp://guest:guest@mq:5672/, INPUT_QUEUE=orders, OUTPUT_QUEUE=totals, STATE_DIR=/var/lib/orders]
    volumes: ["./config.toml:/etc/config.toml:ro", "cache:/cache", "orders-data:/var/lib/orders"]
  auditor:
    <<: *service
    command: /app/auditor
    depends_on: {mq: {condition: service_started}, orders: {condition: service_started}}
    environment: {MQ_URL: "amqp://guest:guest@mq:5672/", INPUT_QUEUE: totals, EXPECTED: "${EXPECTED:-7}"}
  feeder:
    image: shop-feeder
    depends_on: [orders, auditor]
    environment: {MQ_HOST: mq, OUTPUT_QUEUE: orders}
  guardian:
    build: {context: guardian}
    volumes: ["/var/run/docker.sock:/var/run/docker.sock"]
  debugger:
    <<: *service
    profiles: [debug]
volumes: {cache: {}, orders-data: {}}
"""


def chaoskit(directory: Path, *arguments: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "chaoskit", *arguments],
        cwd=directory,
        env={**os.environ, **({} if path is None else {"PATH": path})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def init(directory: Path, *arguments: str, path: str | None = None) -> str:
    done = chaoskit(directory, "init", *arguments, path=path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(directory: Path, *arguments: str) -> str:
    done = chaoskit(directory, "init", *arguments)
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def made(directory: Path, name: str = "scenario.yaml") -> Scenario:
    return scenarios.load(directory / name)


@pytest.fixture
def wild(tmp_path: Path) -> Path:
    (tmp_path / "docker-compose.yaml").write_text(WILD)
    (tmp_path / "settings.env").write_text("LOG_LEVEL=info\n")
    return tmp_path


@pytest.mark.parametrize("name", ["stateful", "partition-writes"])
def test_from_the_bundled_compose_files_it_guesses_who_does_what(tmp_path: Path, name: str) -> None:
    init(tmp_path, "--from", str(COMPOSE / f"{name}.yaml"), "--expect", "NUM_CHUNKS")
    scenario = made(tmp_path)
    assert (scenario.target, scenario.verifier.program) == (("worker-2",), "worker-3")
    assert {"worker-2", "worker-3", "test-runner"} <= set(scenario.programs)
    assert "rabbitmq" not in scenario.programs
    assert scenario.programs["test-runner"].after == ("worker-2", "worker-3")
    assert scenario.programs["worker-2"].data_dir == "/app/worker-data"
    assert scenario.parameters["NUM_CHUNKS"] == (3 if name == "stateful" else 20)
    assert scenario.compose is not None
    assert (tmp_path / scenario.compose.files[0]).resolve() == (COMPOSE / f"{name}.yaml").resolve()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--from", "docker-compose.yaml", "--program", "a=b"), "--program is for programs of this machine"),
        (("--program", "a=b", "--profile", "debug"), "belong to a Compose file"),
        (("--from", "docker-compose.yaml", "--expect", "-3"), "--expect -3: as many as 1, or more, or ids"),
    ],
)
def test_options_that_do_not_go_together_are_refused(wild: Path, options: tuple[str, ...], words: str) -> None:
    said = refusal(wild, *options)
    assert words in said
    assert not (wild / "scenario.yaml").exists()


def test_a_project_of_the_wild_is_understood(wild: Path) -> None:
    said = init(wild, "--from", "docker-compose.yaml", "--expect", "7")
    scenario = made(wild)
    assert list(scenario.programs) == ["orders", "auditor", "feeder"]
    assert (scenario.target, scenario.verifier.program) == (("orders",), "auditor")
    assert scenario.programs["orders"].data_dir == "/var/lib/orders"
    assert scenario.programs["feeder"].after == ("orders", "auditor")
    assert (scenario.restart, scenario.verifier.expect) == ("engine", 7)
    assert scenario.parameters == {"EXPECTED": 7}
    assert "mq is the broker" in said
    assert "db, guardian only brought up" in said
    assert "debugger off (profiles)" in said
    assert "MQ_URL" in (wild / "scenario.yaml").read_text(), "how the broker is found"


def test_a_pipeline_in_another_language_needs_nothing_but_what_to_expect(tmp_path: Path) -> None:
    project = bundled.scenarios_dir() / "go-worker-compose" / "docker-compose.yaml"
    init(tmp_path, "--from", str(project), "--expect", "ada,grace")
    scenario, by_hand = made(tmp_path), bundled.find("go-worker-compose")
    assert scenario.target == by_hand.target
    assert scenario.verifier.program == by_hand.verifier.program
    assert scenario.programs["source"].after == by_hand.programs["source"].after
    assert scenario.programs["totals"].data_dir == by_hand.programs["totals"].data_dir
    assert scenario.restart == "engine", "as the project says itself"


def test_without_docker_the_file_is_read_all_the_same(wild: Path) -> None:
    init(wild, "--from", "docker-compose.yaml", "--expect", "7")
    init(wild, "--from", "docker-compose.yaml", "--expect", "7", "-o", "other.yaml", path=str(wild))
    assert made(wild, "other.yaml") == made(wild)
    done = chaoskit(wild, "init", "--from", "docker-compose.yaml", "--force", path=str(wild))
    assert "read without Compose" in done.stderr


def test_a_profile_and_an_override_take_part(wild: Path) -> None:
    (wild / "override.yaml").write_text("services: {orders: {environment: {EXTRA: x}, restart: 'no'}}")
    init(wild, "--from", "docker-compose.yaml", "--from", "override.yaml", "--profile", "debug", "--expect", "A, B")
    scenario = made(wild)
    assert "debugger" in scenario.programs
    assert scenario.restart == "chaoskit"
    assert scenario.compose is not None
    assert scenario.compose.files == ("docker-compose.yaml", "override.yaml")
    assert scenario.compose.profiles == ("debug",)
    assert scenario.verifier.expect == ("A", "B")


def test_two_services_that_look_like_the_broker_are_told_and_one_can_be_named(wild: Path) -> None:
    text = WILD.replace("volumes: {cache", "  mq2: {image: rabbitmq}\nvolumes: {cache")
    (wild / "docker-compose.yaml").write_text(text)
    assert "mq and mq2 both look like the broker" in init(wild, "--from", "docker-compose.yaml")
    said = init(wild, "--from", "docker-compose.yaml", "--broker", "mq", "--force", "--expect", "1")
    assert "both look like" not in said
    scenario = made(wild)
    assert scenario.compose is not None
    assert scenario.compose.broker == "mq"
    assert "mq" not in scenario.programs


def test_what_nobody_can_know_stays_to_be_filled_in_and_loading_names_it(wild: Path) -> None:
    said = init(wild, "--from", "docker-compose.yaml")
    line = next(n for n, text in enumerate((wild / "scenario.yaml").read_text().splitlines(), 1) if "FILL IN" in text)
    assert f"to fill in: verifier.expect (line {line})" in said
    with pytest.raises(UsageError, match=rf"scenario.yaml, line {line}, verifier.expect: has no value: fill it in"):
        made(wild)
    done = chaoskit(wild, "run", "scenario.yaml")
    assert done.returncode == 2
    assert "verifier.expect" in done.stderr


def test_a_pattern_that_names_nothing_needs_no_expectation(wild: Path) -> None:
    init(wild, "--from", "docker-compose.yaml", "--success", "all totals match")
    assert made(wild).verifier.success == "all totals match"


def test_from_nothing_comes_a_skeleton_whose_commands_are_to_be_filled_in(tmp_path: Path) -> None:
    said = init(tmp_path, "--name", "shop")
    for field in ("programs.worker.command", "programs.checker.command", "programs.sender.command", "verifier.expect"):
        assert f"to fill in: {field}" in said
    with pytest.raises(UsageError, match=r"programs\.worker\.command: has no value"):
        made(tmp_path)
    filled = (tmp_path / "scenario.yaml").read_text().replace("command: ", "command: [python, x.py]")
    (tmp_path / "scenario.yaml").write_text(filled.replace("expect: ", "expect: 3"))
    assert made(tmp_path).name == "shop"


def test_commands_given_as_options_make_a_scenario_that_runs(tmp_path: Path) -> None:
    (tmp_path / "note.py").write_text("import os; open(os.environ['WORKER_DATA_DIR'] + '/note', 'w').write('whole')")
    (tmp_path / "check.py").write_text("import sys; sys.exit(open(sys.argv[1] + '/note').read() != 'whole')")
    verify = "python check.py {data}"
    init(tmp_path, "--program", "writer=python note.py", "--no-broker", "--verify", verify, "--name", "note")
    done = chaoskit(tmp_path, "run", "scenario.yaml", "--kills", "1", "--json")
    assert json.loads(done.stdout)["result"] == "pass", done.stdout


def test_the_file_names_its_schema_and_is_valid_by_it(wild: Path) -> None:
    init(wild, "--from", "docker-compose.yaml", "--expect", "3", "-o", "chaos/scenario.yaml")
    text = (wild / "chaos" / "scenario.yaml").read_text()
    name = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((wild / "chaos" / name).read_text())
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load(text))) == []
    assert made(wild / "chaos").name == wild.name


def test_a_file_is_written_over_only_when_forced(wild: Path) -> None:
    (wild / "scenario.yaml").write_text("mine")
    (wild / "scenario.schema.json").write_text("mine")
    assert "--force" in refusal(wild, "--from", "docker-compose.yaml")
    assert (wild / "scenario.yaml").read_text() == "mine"
    init(wild, "--from", "docker-compose.yaml", "-o", "other.yaml")
    assert (wild / "scenario.schema.json").read_text() == "mine"
    init(wild, "--from", "docker-compose.yaml", "--force", "--expect", "1")
    assert made(wild).target == ("orders",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "gone.yaml"], "gone.yaml: No such file"),
        (["--from", "settings.env"], "is this a Compose file?"),
        (["--from", "docker-compose.yaml", "--target", "order"], "no such service (services: mq, db, orders"),
        (["--from", "docker-compose.yaml", "--verifier", "debugger"], "no such service"),
        (["--from", "docker-compose.yaml", "--success", "(?P<id>"], "verifier.success: not a regular expression"),
        (["--from", "docker-compose.yaml", "--restart", "always"], "chaoskit, engine or none"),
        (["--from", "docker-compose.yaml", "--verifier", "auditor", "--verify", "true"], "give one of them"),
        (["--from", "docker-compose.yaml", "--name", "../up"], "'../up' is not a name"),
        (["--program", "a=python 'x"], '--program a: "python \'x" cannot be split'),
        (["--program", "a=x", "--program", "a=y"], "two of this name"),
        (["--program", "a=x", "--target", "b"], "there is no program 'b'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(wild: Path, arguments: list[str], words: str) -> None:
    assert words in refusal(wild, *arguments)
    assert not (wild / "scenario.yaml").exists()
    assert not (wild / "scenario.schema.json").exists()


def test_where_no_service_is_ours_the_user_is_asked_to_name_one(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {mq: {image: rabbitmq}, db: {image: postgres}}")
    assert "name one with --target" in refusal(tmp_path, "--from", "compose.yaml")


# --- on a terminal ---


def on_a_terminal(directory: Path, answers: list[str], *arguments: str, code: int = 0) -> str:
    """What `chaoskit init` shows on a terminal where these answers are typed, each when something is asked."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execv(sys.executable, [sys.executable, "-m", "chaoskit", "init", *arguments])
    shown, waiting, typed = "", list(answers), ""
    deadline = time.monotonic() + WITHIN_S
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.2)[0]:
                # A Ctrl-C between a prompt and the reading of its answer is lost by Python: typed again, as people do.
                os.write(terminal, typed.encode() if typed == CTRL_C else b"")
                continue
            try:
                shown += os.read(terminal, 4096).decode(errors="replace")
            except OSError:
                break
            if shown.endswith(": ") and waiting:
                typed = waiting.pop(0)
                os.write(terminal, typed.encode() if typed == CTRL_C else f"{typed}\n".encode())
    finally:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == code, shown
    assert waiting == [], shown
    return shown


def test_on_a_terminal_it_asks_and_its_guesses_are_the_defaults(wild: Path) -> None:
    shown = on_a_terminal(wild, ["", "shop", "", "feedr", "feeder", "", "A,B"])
    assert "Make it from docker-compose.yaml?" in shown
    assert "[orders]" in shown
    assert "There is no program 'feedr'" in shown
    assert "auditor has EXPECTED=7" not in shown, "the verifier is another one now"
    scenario = made(wild)
    assert (scenario.name, scenario.target, scenario.verifier.program) == ("shop", ("orders",), "feeder")
    assert scenario.verifier.expect == ("A", "B")


def test_what_was_given_as_an_option_is_not_asked(wild: Path) -> None:
    options = ["--from", "docker-compose.yaml", "--name", "shop", "--target", "orders", "--verifier", "auditor"]
    shown = on_a_terminal(wild, [], *options, "--success", "OK (?P<id>.*)", "--expect", "EXPECTED")
    assert "?" not in shown.replace("(?P<id>", "")
    assert made(wild).expected() == 7


def test_which_of_two_is_the_broker_is_asked(wild: Path) -> None:
    (wild / "docker-compose.yaml").write_text(
        WILD.replace("volumes: {cache", "  mq2: {image: rabbitmq}\nvolumes: {cache")
    )
    on_a_terminal(wild, ["", "", "mq2", "", "", "", "3"])
    scenario = made(wild)
    assert scenario.compose is not None
    assert scenario.compose.broker == "mq2"


def test_ctrl_c_at_a_question_writes_nothing(wild: Path) -> None:
    shown = on_a_terminal(wild, ["", CTRL_C], code=130)
    assert "interrupted" in shown
    assert not (wild / "scenario.yaml").exists()


# --- on a real engine ---


@pytest.mark.timeout(240)
def test_the_scenario_of_a_compose_file_runs(tmp_path: Path) -> None:
    problem = "there is no docker command" if shutil.which("docker") is None else ""
    if not problem and subprocess.run(["docker", "version"], capture_output=True, timeout=WITHIN_S).returncode:
        problem = "no engine answers"
    if problem and os.environ.get("CHAOSKIT_REQUIRE_DOCKER") != "1":
        pytest.skip(problem)
    init(tmp_path, "--from", str(COMPOSE / "stateful.yaml"), "--expect", "CLI1,CLI2")
    done = chaoskit(tmp_path, "run", "scenario.yaml", "--kills", "1", "--runtime", "compose", "--json")
    assert json.loads(done.stdout)["result"] == "pass", done.stdout + done.stderr
