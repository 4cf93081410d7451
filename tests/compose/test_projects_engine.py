"""A run's project on a real engine: made, started, removed, and nothing of it is left, whatever happens meanwhile."""

import asyncio
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose import command, labels, leftovers, owners, project
from chaoskit.runtime.compose.command import Files
from chaoskit.runtime.compose.engine import connect, problems
from chaoskit.runtime.compose.project import AGENT, Changes, Needs, RunProject

IMAGE = "python:3.13-slim"
AGENT_SERVICE = {"image": IMAGE, "command": ["sleep", "infinity"], "stop_signal": "SIGKILL"}
SLEEPER = f"image: {IMAGE}\n    entrypoint: [sleep]\n    command: [infinity]\n    stop_signal: SIGKILL\n"
PIPELINE = (
    f"services:\n  rabbitmq:\n    {SLEEPER}    expose: ['5672', '15672']\n"
    f"  worker:\n    {SLEEPER}    container_name: my-worker\n    ports: ['5999:80']\n"
    "    volumes: ['data:/data', /anonymous]\n"
    f"  side:\n    {SLEEPER}    depends_on: [rabbitmq]\n    volumes: [/anonymous]\n"
    "volumes: {data: {name: my-data}}\n"
)
pytestmark = pytest.mark.timeout(180)


class Run:
    """A project of a run: a name, what Compose said, the document."""

    def __init__(self, folder: Path, text: str, name: str | None = None, owner: str | None = None) -> None:
        self.name = name or f"chaoskit-{secrets.token_hex(4)}"
        (folder / "compose.yaml").write_text(text)
        self.files = Files((folder / "compose.yaml",))
        self.lines: list[str] = []
        resolved = asyncio.run(command.resolve(self.files, {}))
        changes = Changes(
            name=self.name,
            run=self.name,
            owner=owner or labels.owner(),
            programs={"worker": Needs(data_dir="/data", watched=True)},
            agent=AGENT_SERVICE,
        )
        self.project: RunProject = project.transform(resolved, changes)

    async def compose(
        self, *arguments: str, timeout_s: float = 120, on_line: Callable[[str], None] | None = None
    ) -> None:
        await command.compose(
            self.name,
            self.project.document,
            arguments,
            origin=self.files,
            environment={},
            on_line=on_line or self.lines.append,
            timeout_s=timeout_s,
            doing="making the containers",
        )

    def __call__(self, *arguments: str) -> None:
        asyncio.run(self.compose(*arguments))


@pytest.fixture
def client(engine: None) -> Iterator[docker.DockerClient]:
    made = connect()
    yield made
    made.close()


def left_of(client: docker.DockerClient, name: str) -> list[str]:
    """What there is of a project, by the marks that Compose makes, not by ours; others work on the engine meanwhile."""
    api = client.api
    of_project = {"label": f"com.docker.compose.project={name}"}
    found = [container["Id"] for container in api.containers(all=True, filters=of_project)]
    found += [network["Name"] for network in api.networks(filters=of_project)]
    found += [volume["Name"] for volume in api.volumes(filters=of_project).get("Volumes") or ()]
    found += [str(image.get("RepoTags")) for image in api.images(all=True, filters=of_project)]
    return found


def volumes_of(client: docker.DockerClient, name: str) -> set[str]:
    """All volumes that containers of a project use, anonymous ones included."""
    containers = client.containers.list(all=True, filters={"label": f"{labels.RUN}={name}"})
    return {mount["Name"] for container in containers for mount in container.attrs["Mounts"]}


def exists(client: docker.DockerClient, volume: str) -> bool:
    try:
        client.volumes.get(volume)
    except docker.errors.NotFound:
        return False
    return True


def compose_is_running(name: str) -> bool:
    found = subprocess.run(["pgrep", "--full", f"project-name {name}"], capture_output=True, text=True, timeout=20)
    return bool(found.stdout.strip())


def wait_until(what: str, condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    pause = threading.Event()
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen in {deadline_s:g} s"
        pause.wait(0.05)


@pytest.fixture
def run(client: docker.DockerClient, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes projects of a Compose file; what is left of them is removed in the end, and fails the test."""
    runs: list[Run] = []

    def make(text: str = PIPELINE, **fields: str) -> Run:
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        runs.append(Run(folder, text, **fields))
        return runs[-1]

    yield make
    left = {made.name: left_of(client, made.name) for made in runs}
    for made in runs:
        leftovers.remove_run(client, made.name)
    assert left == {made.name: [] for made in runs}


def test_a_project_that_was_up_leaves_nothing(client: docker.DockerClient, run: Callable[..., Run]) -> None:
    made = run(PIPELINE.replace(f"  side:\n    image: {IMAGE}\n", "  side:\n    image: mine\n    build: .\n"))
    (made.files.files[0].parent / "Dockerfile").write_text(f"FROM {IMAGE}\nVOLUME /of-the-image\n")
    made("create", "--build")
    made("up", "--detach", "--no-build", *made.project.backing, AGENT)
    containers = client.containers.list(all=True, filters={"label": f"{labels.RUN}={made.name}"})
    states = {container.labels["com.docker.compose.service"]: container.status for container in containers}
    assert states == {"rabbitmq": "running", "side": "running", AGENT: "running", "worker": "created"}
    assert made.project.images == [f"{made.name}-side"]
    volumes = volumes_of(client, made.name)
    assert len(volumes) == 5
    removed = leftovers.remove_run(client, made.name)
    assert [kind.kind for kind in removed if kind.kind != "container"] == [
        "network",
        "network",
        "volume",
        "volume",
        "volume",
        "image",
    ]
    assert left_of(client, made.name) == []
    assert not any(exists(client, volume) for volume in volumes)
    assert leftovers.remove_run(client, made.name) == []


def test_two_runs_of_one_project_are_up_side_by_side(client: docker.DockerClient, run: Callable[..., Run]) -> None:
    one, two = run(), run()
    for made in (one, two):
        made("up", "--detach", "worker", *made.project.backing, AGENT)
    leftovers.remove_run(client, one.name)
    assert left_of(client, one.name) == []
    assert len(client.containers.list(filters={"label": f"{labels.RUN}={two.name}"})) == 4
    leftovers.remove_run(client, two.name)


def test_programs_reach_the_agent_under_the_brokers_name_and_not_the_broker(
    client: docker.DockerClient, run: Callable[..., Run]
) -> None:
    made = run(PIPELINE.replace("expose:", "container_name: my-mq\n    hostname: mq-host\n    expose:"))
    made("up", "--detach", "worker", *made.project.backing, AGENT)
    by_service = {
        container.labels["com.docker.compose.service"]: container
        for container in client.containers.list(filters={"label": f"{labels.RUN}={made.name}"})
    }

    def addresses(service: str) -> set[str]:
        return {network["IPAddress"] for network in by_service[service].attrs["NetworkSettings"]["Networks"].values()}

    def resolved(service: str, name: str) -> str:
        script = f"import socket; print(socket.gethostbyname('{name}'))"
        return by_service[service].exec_run(["python", "-c", script]).output.decode().strip()

    for name in ("rabbitmq", "my-mq", "mq-host"):
        assert resolved("worker", name) in addresses(AGENT)
        assert resolved("side", name) in addresses(AGENT)
    assert resolved(AGENT, project.BROKER_ADDRESS) in addresses("rabbitmq")
    assert "rror" in resolved("worker", project.BROKER_ADDRESS)
    assert resolved("side", "my-worker") in addresses("worker")
    leftovers.remove_run(client, made.name)


@pytest.mark.parametrize(
    ("user", "owner"),
    [("1234:77", "1234:77"), ("1234", "1234:0"), ("games", "5:60"), ("games:tty", "5:5"), ("0", "0:0")],
)
def test_a_volume_in_the_place_of_a_directory_belongs_to_the_user_of_the_program(
    client: docker.DockerClient, run: Callable[..., Run], user: str, owner: str
) -> None:
    made = run(
        f"services:\n  rabbitmq:\n    {SLEEPER}"
        f"  worker: {{image: '{IMAGE}', command: [stat, -c, '%u:%g', /data], user: '{user}', read_only: true,"
        " network_mode: none, volumes: ['./mine:/data']}\n"
    )
    made("create")
    ids = {
        container.labels["com.docker.compose.service"]: container.id
        for container in client.containers.list(all=True, filters={"label": f"{labels.RUN}={made.name}"})
    }
    assert made.project.programs["worker"].fresh == {"chaoskit-data-worker": "/data"}
    owners.give(client, ids["worker"], ids[AGENT], made.project.programs["worker"].fresh)
    worker = client.containers.get(ids["worker"])
    worker.start()
    assert worker.wait(timeout=30)["StatusCode"] == 0
    assert worker.logs().decode().strip() == owner
    leftovers.remove_run(client, made.name)


def test_what_is_not_ours_is_not_touched(client: docker.DockerClient, run: Callable[..., Run]) -> None:
    made, other = run(PIPELINE.replace("  side:\n", "  side:\n    build: .\n")), run()
    (made.files.files[0].parent / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN true\n")
    made("create", "--build")
    other("create")
    image = made.project.images[0]
    foreign = client.containers.create(image, ["sleep", "infinity"])
    client.images.get(image).tag("chaoskit-tests-of-the-users", tag=made.name)
    try:
        assert labels.RUN not in foreign.labels
        removed = leftovers.remove_run(client, made.name)
        assert image in " ".join(map(str, removed))
        foreign.reload()
        assert client.images.get(f"chaoskit-tests-of-the-users:{made.name}").id == foreign.image.id
        assert len(leftovers.find(client, other.name)) == 9
    finally:
        foreign.remove(force=True)
        client.images.remove(f"chaoskit-tests-of-the-users:{made.name}")
    leftovers.remove_run(client, other.name)


def test_what_shows_up_late_goes_away_too_when_its_maker_was_ended_in_the_middle(client: docker.DockerClient) -> None:
    run = f"chaoskit-{secrets.token_hex(4)}"

    def make() -> None:
        client.api.create_volume(f"{run}-late", labels=labels.of_run(run, labels.owner()))

    late = threading.Timer(0.6, make)
    late.start()
    removed = leftovers.remove_run(client, run, cut_off=True)
    late.join()
    assert [thing.name for thing in removed] == [f"{run}-late"]
    assert leftovers.find(client, run) == []


def test_what_cannot_be_removed_is_named(client: docker.DockerClient, run: Callable[..., Run]) -> None:
    made = run()
    made("create")
    foreign = client.containers.run(IMAGE, ["sleep", "infinity"], network=f"{made.name}_default", detach=True)
    try:
        with pytest.raises(
            EnvironmentProblem, match=rf"network {made.name}_default cannot be removed: .*active endpoints"
        ):
            leftovers.remove_run(client, made.name, timeout_s=1)
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.remove(force=True)
    assert len(leftovers.remove_run(client, made.name)) == 1


def test_paused_dying_and_restarting_containers_go_away_too(
    client: docker.DockerClient, run: Callable[..., Run]
) -> None:
    again = f"  again: {{image: '{IMAGE}', entrypoint: ['false'], restart: always}}\n"
    made = run(PIPELINE.replace("volumes: {data:", f"{again}volumes: {{data:"))
    made("up", "--detach", *made.project.backing)

    def container_of(service: str) -> Container:
        label = [f"{labels.RUN}={made.name}", f"com.docker.compose.service={service}"]
        return client.containers.list(all=True, filters={"label": label})[0]

    container_of("side").pause()
    wait_until("a restart", lambda: container_of("again").attrs["RestartCount"] > 0)
    leftovers.remove_run(client, made.name)


# --- ended in the middle ---


@pytest.mark.parametrize("lines", [1, 4, 9, 14])
def test_a_cancelled_compose_is_over_and_what_it_began_goes_away(
    client: docker.DockerClient, run: Callable[..., Run], lines: int
) -> None:
    made = run()

    async def cancel() -> None:
        enough = asyncio.Event()
        seen: list[str] = []

        def hear(line: str) -> None:
            seen.append(line)
            if len(seen) >= lines:
                enough.set()

        work = asyncio.ensure_future(made.compose("up", "--detach", on_line=hear))
        done, _ = await asyncio.wait([work, asyncio.ensure_future(enough.wait())], return_when=asyncio.FIRST_COMPLETED)
        assert work not in done
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(cancel())
    assert not compose_is_running(made.name)
    leftovers.remove_run(client, made.name)


_TO_BE_KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import tests.compose.test_projects_engine as tests
made = tests.Run(Path({folder!r}), tests.PIPELINE, {name!r})
asyncio.run(made.compose("up", "--detach", on_line=lambda line: print(line, flush=True)))
"""


@pytest.mark.parametrize("lines", [2, 8])
def test_what_a_killed_chaoskit_left_is_found_by_its_owner(
    client: docker.DockerClient, run: Callable[..., Run], tmp_path: Path, lines: int
) -> None:
    made = run()
    folder = tmp_path / "killed"
    folder.mkdir()
    script = _TO_BE_KILLED.format(root=str(Path(__file__).parents[2]), folder=str(folder), name=made.name)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        for _ in range(lines):
            assert killed.stdout.readline()
        mine = [thing for thing in leftovers.orphans(client) if thing.run == made.name]
        assert mine == []
        killed.send_signal(signal.SIGKILL)
    wait_until("the end of Compose", lambda: not compose_is_running(made.name))
    found = [thing for thing in leftovers.orphans(client) if thing.run == made.name]
    assert found
    assert set(found) == set(leftovers.find(client, made.name))
    removed = leftovers.remove_orphans(client)
    assert set(found) <= set(removed)
    assert left_of(client, made.name) == []


def test_the_owner_of_another_host_is_never_taken_for_dead() -> None:
    host, pid, started = labels.owner().split(":")
    assert not labels.is_gone(f"{host}:{pid}:{started}")
    assert labels.is_gone(f"{host}:{pid}:{int(started) + 1}")
    assert not labels.is_gone(f"other-{host}:{pid}:{int(started) + 1}")
    assert not labels.is_gone("")
    assert not labels.is_gone(f"{host}:not-a-number")


def test_a_time_limit_ends_compose_and_says_what_it_was_doing(run: Callable[..., Run]) -> None:
    made = run("services:\n  rabbitmq: {image: rabbitmq:4-management}\n  worker: {build: .}\n")
    (made.files.files[0].parent / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo {made.name}; sleep 60\n")
    began_s = time.monotonic()
    with pytest.raises(
        EnvironmentProblem, match=r"making the containers: Compose was not done after 2 s; its last words"
    ):
        asyncio.run(made.compose("build", timeout_s=2))
    assert time.monotonic() - began_s < 30
    assert not compose_is_running(made.name)


# --- errors in one line ---


def test_a_build_that_fails_shows_its_last_lines(run: Callable[..., Run]) -> None:
    made = run("services:\n  rabbitmq: {image: rabbitmq:4-management}\n  worker: {build: .}\n")
    (made.files.files[0].parent / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo before; no-such-command --x\n")
    with pytest.raises(EnvironmentProblem) as failed:
        made("create", "--build")
    line = str(failed.value)
    assert line.startswith("making the containers: ")
    assert "the last lines of the build: " in line
    assert "before" in line
    assert "no-such-command: not found" in line
    assert "\n" not in line


def test_an_image_that_cannot_be_pulled_is_named_with_the_words_of_the_registry(run: Callable[..., Run]) -> None:
    made = run(
        "services:\n  rabbitmq: {image: rabbitmq:4-management}\n  worker: {image: 'no.registry.invalid/some:1'}\n"
    )
    with pytest.raises(EnvironmentProblem, match=r"an image cannot be pulled: .*no\.registry\.invalid"):
        made("create")


def test_errors_of_the_engine_become_one_line_that_says_what_to_do(client: docker.DockerClient) -> None:
    name = f"chaoskit-test-{secrets.token_hex(6)}"
    first = client.containers.run(
        IMAGE, ["sleep", "infinity"], name=name, ports={"80/tcp": ("127.0.0.1", 0)}, detach=True
    )
    second = None
    try:
        taken = f"starting: a container named /{name} is there already: `chaoskit clean`"
        with pytest.raises(EnvironmentProblem, match=taken), problems("starting"):
            client.containers.create(IMAGE, name=name)
        first.reload()
        port = int(first.attrs["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])
        second = client.containers.create(IMAGE, ["true"], ports={"80/tcp": ("127.0.0.1", port)})
        taken = rf"starting: port \S*{port} of the engine's host is taken"
        with pytest.raises(EnvironmentProblem, match=taken), problems("starting"):
            second.start()
        with pytest.raises(EnvironmentProblem, match="no-such-image"), problems("starting"):
            client.containers.create("no-such-image:at-all")
    finally:
        for container in (first, second):
            if container is not None:
                container.remove(force=True)
