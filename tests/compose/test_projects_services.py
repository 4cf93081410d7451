"""A user's Compose project as one of a run: which services, their names, ports, images, restarts; what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chaoskit.model.errors import UsageError
from chaoskit.runtime.compose import command, labels, networks
from chaoskit.runtime.compose.command import Files
from chaoskit.runtime.compose.mounts import Place
from chaoskit.runtime.compose.project import Needs

from .transforming import NAME, OWNER, PIPELINE, Transform, accepted_by_compose, service

pytestmark = pytest.mark.usefixtures("compose_command")


# --- what is ours ---


def test_everything_that_compose_makes_carries_the_run_and_its_owner(transform: Transform) -> None:
    made = transform(f"{PIPELINE}    build: .\n    volumes: [data:/app/worker-data]\nvolumes: {{data: }}\n")
    ours = {labels.RUN: NAME, labels.OWNER: OWNER}
    for part in ("services", "networks", "volumes"):
        assert made.document[part]
        assert all(ours.items() <= thing["labels"].items() for thing in made.document[part].values())
    image = service(made, "worker")["build"]["labels"]
    assert image == {labels.IMAGE_RUN: NAME, labels.IMAGE_OWNER: OWNER}
    assert made.document["name"] == NAME


def test_labels_of_the_user_stay(transform: Transform) -> None:
    made = transform(f"{PIPELINE}    labels: [of=me]\nnetworks: {{default: {{labels: {{of: you}}}}}}\n")
    assert service(made, "worker")["labels"]["of"] == "me"
    assert made.document["networks"]["default"]["labels"]["of"] == "you"


# --- the features of Compose that projects in the wild use ---


def test_a_container_name_is_free_again_and_still_a_name_in_the_networks(transform: Transform) -> None:
    made = transform(
        f"{PIPELINE}    container_name: the-worker\n    networks: [one, two]\nnetworks: {{one: , two: }}\n"
    )
    assert "container_name" not in service(made, "worker")
    assert service(made, "worker")["networks"] == {
        "one": {"aliases": ["the-worker"]},
        "two": {"aliases": ["the-worker"]},
    }


def test_fixed_host_ports_become_free_ones_of_the_loopback(transform: Transform) -> None:
    made = transform(f'{PIPELINE}    ports: ["8080:80", "9000-9001:90-91", "80", "127.0.0.1:53:53/udp"]\n')
    ports = service(made, "worker")["ports"]
    assert [(port["target"], port["protocol"]) for port in ports] == [
        (80, "tcp"),
        (90, "tcp"),
        (91, "tcp"),
        (53, "udp"),
    ]
    assert all(port["host_ip"] == "127.0.0.1" and "published" not in port for port in ports)


def test_images_that_are_built_get_a_name_of_the_run_and_who_shares_them_follows(transform: Transform) -> None:
    made = transform(
        "services:\n"
        "  rabbitmq: {image: rabbitmq:4}\n"
        "  worker: {image: me/app, build: {context: ../elsewhere, tags: [mine], cache_to: [type=local,dest=x]}}\n"
        "  other: {image: 'me/app:latest', pull_policy: always}\n"
        "  third: {image: 'me/app:2'}\n"
        "  Up_per: {build: .}\n"
    )
    assert made.images == [f"{NAME}-up-per", f"{NAME}-worker"]
    assert service(made, "worker")["image"] == service(made, "other")["image"] == f"{NAME}-worker"
    assert service(made, "third")["image"] == "me/app:2"
    assert service(made, "Up_per")["image"] == f"{NAME}-up-per"
    assert service(made, "other")["pull_policy"] == "never"
    build = service(made, "worker")["build"]
    assert build["context"].endswith("/elsewhere")
    assert not {"tags", "cache_to"} & set(build)


def test_what_programs_depend_on_is_told_and_what_backing_services_depend_on_stays(transform: Transform) -> None:
    made = transform(
        "services:\n"
        "  rabbitmq: {image: rabbitmq:4, healthcheck: {test: 'true'}}\n"
        "  db: {image: postgres}\n"
        "  migrate: {image: me, depends_on: [db]}\n"
        "  watcher: {image: me, depends_on: [db, worker]}\n"
        "  worker:\n"
        "    image: me\n"
        "    depends_on:\n"
        "      rabbitmq: {condition: service_healthy, restart: true}\n"
        "      migrate: {condition: service_completed_successfully}\n"
        "      runner: {condition: service_started}\n"
        "  runner: {image: me}\n",
        programs={"worker": Needs(), "runner": Needs()},
    )
    assert "depends_on" not in service(made, "worker")
    assert made.programs["worker"].waits_for == {
        "rabbitmq": "service_healthy",
        "migrate": "service_completed_successfully",
    }
    assert list(service(made, "migrate")["depends_on"]) == ["db"]
    assert list(service(made, "watcher")["depends_on"]) == ["db"]
    assert sorted(made.backing) == ["db", "migrate", "rabbitmq", "watcher"]
    assert any("does not wait for worker" in note for note in made.notes)


def test_env_files_and_dollar_signs_arrive_as_they_were_meant(transform: Transform, tmp_path: Path) -> None:
    (tmp_path / "worker.env").write_text("FROM_FILE='pa$$word'\n")
    made = transform(
        f"{PIPELINE}    env_file: worker.env\n    environment: {{OWN: 'a$$b', OVER: old}}\n",
        programs={"worker": Needs({"OVER": "ne$w"})},
    )
    environment = service(made, "worker")["environment"]
    assert environment == {"FROM_FILE": "pa$$word", "OWN": "a$b", "OVER": "ne$w"}
    read_again = accepted_by_compose(made)["services"]["worker"]["environment"]
    assert read_again == {name: value.replace("$", "$$") for name, value in environment.items()}


def test_services_of_profiles_take_part_when_they_are_chosen_or_needed(transform: Transform) -> None:
    text = (
        f"{PIPELINE}"
        "  tools: {image: me, profiles: [debug]}\n"
        "  runner: {image: me, profiles: [manual], depends_on: [db]}\n"
        "  db: {image: postgres, profiles: [manual]}\n"
    )
    assert set(transform(text).document["services"]) == {"rabbitmq", "worker", networks.AGENT}
    with_runner = transform(text, programs={"worker": Needs(), "runner": Needs()})
    assert set(with_runner.document["services"]) == {"rabbitmq", "worker", "runner", "db", networks.AGENT}
    assert not any("profiles" in service for service in with_runner.document["services"].values())
    assert "tools" in transform(text, profiles=("debug",)).backing


def test_a_profile_of_the_environment_counts(transform: Transform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROFILES", "debug")
    assert "tools" in transform(f"{PIPELINE}  tools: {{image: me, profiles: [debug]}}\n").backing


def test_anchors_extends_and_includes_are_resolved(transform: Transform, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("services:\n  base: {image: me, environment: {FROM_BASE: '1'}}\n")
    (tmp_path / "more.yaml").write_text("services:\n  included: {image: me}\n")
    made = transform(
        "x-common: &common {image: me, working_dir: /srv}\n"
        "include: [more.yaml]\n"
        "services:\n"
        "  rabbitmq: {image: rabbitmq:4}\n"
        "  worker: {extends: {file: base.yaml, service: base}}\n"
        "  other: {<<: *common, user: '7'}\n"
    )
    assert service(made, "worker")["environment"] == {"FROM_BASE": "1"}
    assert (service(made, "other")["working_dir"], service(made, "other")["user"]) == ("/srv", "7")
    assert "included" in made.backing
    assert not any(name.startswith("x-") for name in made.document)


def test_how_a_program_runs_stays_as_it_is(transform: Transform) -> None:
    fields = """\
    user: "1000:1000"
    working_dir: /srv
    read_only: true
    init: true
    entrypoint: /entry.sh --verbose "two words"
    command: run -x
    stop_signal: SIGUSR1
    stop_grace_period: 3s
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    sysctls: {net.core.somaxconn: 1024}
    ulimits: {nofile: 1000}
    extra_hosts: ["other:10.0.0.1"]
    dns: [10.0.0.2]
    deploy: {resources: {limits: {memory: 64M}}}
"""
    made = transform(f"{PIPELINE.replace('    command: [python, worker.py]', '')}{fields}")
    worker = service(made, "worker")
    assert worker["entrypoint"] == ["/entry.sh", "--verbose", "two words"]
    assert worker["command"] == ["run", "-x"]
    assert (worker["user"], worker["working_dir"], worker["read_only"], worker["init"]) == (
        "1000:1000",
        "/srv",
        True,
        True,
    )
    assert (worker["stop_signal"], worker["stop_grace_period"]) == ("SIGUSR1", "3s")
    assert (worker["tmpfs"], worker["cap_drop"], worker["dns"]) == (["/tmp"], ["ALL"], ["10.0.0.2"])
    assert worker["security_opt"] == ["no-new-privileges:true"]
    assert worker["deploy"]["resources"]["limits"]["memory"] == "67108864"
    assert {"sysctls", "ulimits", "extra_hosts"} <= set(worker)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("entrypoint: []", []),
        ('entrypoint: ""', None),
        ("entrypoint: [a, 'b c']", ["a", "b c"]),
        ("entrypoint: a b", ["a", "b"]),
    ],
)
def test_every_form_of_an_entrypoint_means_the_same_afterwards(transform: Transform, written: str, meant: Any) -> None:
    made = transform(f"{PIPELINE}    {written}\n")
    again = accepted_by_compose(made)["services"]["worker"].get("entrypoint")
    assert service(made, "worker").get("entrypoint") == again
    assert (again or []) == (meant or [])


def test_programs_are_not_started_again_by_the_engine_unless_the_scenario_says_so(transform: Transform) -> None:
    text = (
        "services:\n"
        "  rabbitmq: {image: rabbitmq:4, restart: always}\n"
        "  worker: {image: me, restart: unless-stopped, deploy: {restart_policy: {condition: any}}}\n"
        "  other: {image: me, restart: on-failure}\n"
    )
    ours = transform(text)
    assert service(ours, "worker")["restart"] == "no"
    assert "restart_policy" not in service(ours, "worker")["deploy"]
    assert service(ours, "rabbitmq")["restart"] == "no"
    assert service(ours, "other")["restart"] == "on-failure"
    engines = transform(text, engine_restarts=True)
    assert service(engines, "worker")["restart"] == "unless-stopped"


def test_lines_of_programs_stay_on_the_engine_and_are_not_rotated(transform: Transform) -> None:
    made = transform(f"{PIPELINE}    logging: {{driver: syslog, options: {{syslog-address: 'udp://1.2.3.4'}}}}\n")
    assert service(made, "worker")["logging"] == {"driver": "json-file"}
    assert any("syslog" in note for note in made.notes)


def test_secrets_and_configs_without_a_file_are_told(transform: Transform, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    made = transform(
        f"{PIPELINE}"
        "    configs: [inline, {source: inline, target: /etc/app.conf, mode: 0440, uid: '7'}, file]\n"
        "    secrets: [token]\n"
        "configs: {inline: {content: 'a$$b'}, file: {file: file.txt}}\n"
        "secrets: {token: {environment: HOME}}\n"
    )
    first, second, token = made.programs["worker"].files
    assert (first.target, first.content, first.mode) == ("/inline", "a$b", 0o444)
    assert (second.target, second.content, second.uid, second.mode) == ("/etc/app.conf", "a$b", 7, 0o440)
    assert (token.target, token.content, token.variable) == ("/run/secrets/token", None, "HOME")


# --- refused, with a line that says what to change ---


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("network_mode: host", "network_mode: host"),
        ("network_mode: 'service:rabbitmq'", "network_mode: service:rabbitmq"),
        ("network_mode: 'container:mine'", "container:mine"),
        ("network_mode: bridge", "network_mode: bridge"),
        ("pid: host", "pid: host"),
        ("ipc: 'service:rabbitmq'", "ipc: service:rabbitmq"),
        ("scale: 3", "3 replicas"),
        ("deploy: {replicas: 2}", "2 replicas"),
        ("volumes_from: ['container:mine']", "volumes_from: container:mine"),
        ("tmpfs: [/app]", "on a tmpfs"),
    ],
)
def test_what_a_run_cannot_do_to_a_program_is_refused(transform: Transform, field: str, word: str) -> None:
    with pytest.raises(UsageError) as refused:
        transform(f"{PIPELINE}    {field}\n")
    line = str(refused.value)
    assert line.startswith("service worker: ")
    assert word in line
    assert "override file" in line
    assert "\n" not in line


def test_the_same_is_fine_for_a_service_that_is_nobodys_target(transform: Transform) -> None:
    made = transform(f"{PIPELINE}  side: {{image: me, network_mode: 'service:rabbitmq', pid: host, scale: 2}}\n")
    assert service(made, "side")["network_mode"] == "service:rabbitmq"


def test_a_program_that_is_no_service_is_a_usage_error_that_lists_them(transform: Transform) -> None:
    with pytest.raises(UsageError, match=r"no service 'wroker' in the Compose file \(services: rabbitmq, worker\)"):
        transform(PIPELINE, programs={"wroker": Needs()})


def test_files_that_compose_refuses_are_a_usage_error_in_its_words(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    for text, word in (("services: {a: {imag: x}}", "imag"), ("services: [", "yaml"), ("services: {}", "services")):
        file.write_text(text)
        with pytest.raises(UsageError, match=word) as refused:
            asyncio.run(command.resolve(Files((file,)), {}))
        assert str(file) in str(refused.value)
    with pytest.raises(UsageError, match="no such file"):
        asyncio.run(command.resolve(Files((tmp_path / "none.yaml",)), {}))


def test_variables_are_filled_from_the_given_environment_and_env_files(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("services: {a: {image: 'me:${TAG}', command: 'x ${CHUNKS:-3}'}}\n")
    (tmp_path / "tag.env").write_text("TAG=v7\n")
    files = Files((tmp_path / "c.yaml",), env_files=(tmp_path / "tag.env",))
    resolved = asyncio.run(command.resolve(files, {"CHUNKS": "5"}))
    assert (resolved["services"]["a"]["image"], resolved["services"]["a"]["command"]) == ("me:v7", ["x", "5"])


def test_a_file_that_overrides_another_wins(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("services: {a: {image: me, user: '1', hostname: h}}\n")
    (tmp_path / "two.yaml").write_text("services: {a: {user: '2'}}\n")
    resolved = asyncio.run(command.resolve(Files((tmp_path / "one.yaml", tmp_path / "two.yaml")), {}))
    assert (resolved["services"]["a"]["user"], resolved["services"]["a"]["hostname"]) == ("2", "h")


def test_an_agent_of_the_users_is_refused(transform: Transform) -> None:
    with pytest.raises(UsageError, match="chaoskit-agent"):
        transform(f"{PIPELINE}  chaoskit-agent: {{image: me}}\n")


def test_the_place_of_a_data_directory_in_the_agent() -> None:
    assert Place("data", "", False).in_agent() == "/data/data"
    assert Place("data", "a/b", False).in_agent() == "/data/data/a/b"
