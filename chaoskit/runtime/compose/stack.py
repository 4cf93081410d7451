"""A Compose project of a run's own that is up: broker, backing services and the agent; programs come and go in it.

Opened once, used for one run after the other (a control run and a run with faults, or a whole exploration): between two
runs the broker stays warm, the programs' containers are made anew and their data is what it was. Closing it removes
everything that it made.
"""

import asyncio
import contextlib
import os
import platform
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker

from chaoskit.agent.wire import LAUNCHER, SOCKETS
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.scenario import Scenario, as_text
from chaoskit.runtime.compose import agent_files, clones, command, engine, healths, labels, leftovers, owners, project
from chaoskit.runtime.compose.archives import unpack
from chaoskit.runtime.compose.backing import Backing
from chaoskit.runtime.compose.clones import Changes, Template
from chaoskit.runtime.compose.link import AgentLink
from chaoskit.runtime.compose.mounts import Place
from chaoskit.runtime.compose.uncancelled import in_thread, to_its_end, together

_BUILD_S = 1800.0
_UP_S = 300.0
# Any image with Python 3.11 or newer.
_IMAGE_VARIABLE, _IMAGE = "CHAOSKIT_AGENT_IMAGE", "python:3.13-slim"
# Hears what is being done; a line of Compose's own, `passing`, is worth a look only while it is the last one.
OnProgress = Callable[[str, bool], None]
# Gives the launcher for a kind of machine.
Launcher = Callable[[str], bytes]


class Stack:
    """One project. `lost(what, reason)` hears when the agent goes away by itself."""

    def __init__(self, scenario: Scenario, launcher: Launcher, on_progress: OnProgress) -> None:
        self.name = f"chaoskit-{secrets.token_hex(4)}"
        self.lost: Callable[[str, str], None] = lambda what, reason: None
        self.link = AgentLink(lambda reason: self.lost("the agent", reason))
        self.notes: list[str] = []
        self._scenario, self._launcher, self._progress = scenario, launcher, on_progress
        self._agent = f"{self.name}-agent"
        self._is_connected = self._cut_off = False
        self._templates: dict[str, Template] = {}
        self._names: dict[str, str] = {}
        self._made = 0
        self._fetching = asyncio.Lock()

    @property
    def client(self) -> docker.DockerClient:
        """The engine."""
        return self._client

    @property
    def has_broker(self) -> bool:
        """Whether a broker is part of it."""
        return self._project.broker is not None

    # --- up ---

    async def open(self) -> None:
        """Bring it up. Raises UsageError and EnvironmentProblem; `close` has to follow even then."""
        await in_thread(self._connect)
        self._files = self._compose_files()
        resolved = await command.resolve(self._files, self._variables())
        missing = await asyncio.to_thread(command.missing, resolved)
        self._project = project.transform(resolved, self._changes(missing))
        if healths.can_be_seldom(self._client):
            healths.make_seldom(self._project.document, self._project.backing)
        self.notes = list(self._project.notes)
        self._progress(f"making the containers of {self._files.files[0].name}", False)
        await self._compose("create", "--build", doing="making the containers", timeout_s=_BUILD_S)
        await in_thread(self._read_templates)
        broker = self._project.broker
        self.backing = Backing(self._client, self._names, broker)
        # Whatever else stands behind the programs may look for the broker at its first step, and finds the agent there.
        others = [service for service in self._project.backing if service != broker]
        await together(in_thread(self._make_agent), self._start([broker] if broker else []))
        await self.link.open(["docker", "start", "--attach", "--interactive", self._agent])
        if reason := self.link.hello["tap"]:
            self._progress(f"no tap on the engine's machine: {reason}", False)
        if self._project.broker is not None:
            ports, pid = await self.backing.broker_ports(), await self.backing.broker_pid()
            await self.link.ask("front", host=project.BROKER_ADDRESS, ports=ports, pid=pid)
        await self._start(others)
        await self.link.ask("keep", volumes=list(self._project.volumes))

    def _connect(self) -> None:
        self._client = engine.connect()
        self._is_connected = True

    def _compose_files(self) -> command.Files:
        compose = self._scenario.compose
        if compose is None:
            raise EnvironmentProblem(f"{self._scenario.name} names no Compose file: run it with --runtime local")
        folder = Path(self._scenario.folder)
        files = tuple((folder / name).resolve() for name in compose.files)
        return command.Files(files, compose.profiles, tuple((folder / name).resolve() for name in compose.env_files))

    def _variables(self) -> dict[str, str]:
        """What fills the project's ${VARIABLES}: the parameters, as with `NUM_CHUNKS=5 docker compose up`."""
        return {name: as_text(value) for name, value in self._scenario.parameters.items()}

    def _changes(self, missing: Collection[str]) -> project.Changes:
        scenario = self._scenario
        assert scenario.compose is not None
        programs = {
            scenario.service_of(name): project.Needs({}, program.data_dir, name in scenario.target)
            for name, program in scenario.programs.items()
            if name != scenario.verifier.last
        }
        return project.Changes(
            name=self.name,
            run=self.name,
            owner=labels.owner(),
            programs=programs,
            agent=_agent_service(),
            broker=scenario.compose.broker,
            has_broker=bool(scenario.broker),
            engine_restarts=scenario.restart == "engine",
            profiles=scenario.compose.profiles,
            missing=missing,
        )

    async def _compose(self, *arguments: str, doing: str, timeout_s: float) -> None:
        self._cut_off = True
        await command.compose(
            self.name,
            self._project.document,
            arguments,
            origin=self._files,
            environment=self._variables(),
            on_line=lambda line: self._progress(line, True),
            timeout_s=timeout_s,
            doing=doing,
        )
        self._cut_off = False

    def _read_templates(self) -> None:
        with engine.problems("reading the containers"):
            made = self._client.api.containers(all=True, filters={"label": f"{labels.RUN}={self.name}"})
            for container in made:
                service = container["Labels"]["com.docker.compose.service"]
                self._names[service] = container["Id"]
            for service in (*self._project.programs, project.AGENT):
                placed = self._project.programs.get(service)
                files = placed.files if placed else ()
                self._templates[service] = clones.template_of(self._client, self._names[service], service, files)

    def _make_agent(self) -> None:
        """The agent's container, with our code and the launcher in it; not started."""
        template = self._templates[project.AGENT]
        with engine.problems("making the agent's container"):
            made = clones.create(self._client, template, self._agent, Changes(attached=True))
            api = self._client.api
            api.put_archive(made, "/", agent_files.archive())
            machine = str(self._client.info().get("Architecture", platform.machine()))
            folder, _, launcher = LAUNCHER.rpartition("/")
            api.put_archive(made, folder, clones.tar_of(launcher, self._launcher(machine), 0o755))
            for service, placed in self._project.programs.items():
                owners.give(self._client, self._names[service], made, placed.fresh)

    async def _start(self, services: Sequence[str]) -> None:
        """Have Compose start services, in its order, and wait until each is up. Raises EnvironmentProblem."""
        if not services:
            return
        self._progress(f"starting {', '.join(services)}", False)
        await self._compose("up", "--detach", "--no-build", *services, doing="starting", timeout_s=_UP_S)
        await self.backing.until_up(services, _UP_S)

    async def mend_broker(self) -> None:
        """Start the broker when a run has left it down, and wait until it answers. Raises EnvironmentProblem."""
        await self.backing.mend_broker(lambda pid: self.link.ask("await_broker", pid=pid))

    # --- programs ---

    def place(self, program: str) -> Place | None:
        """Where a program's data directory is; None when it has none that outlives its container."""
        placed = self._project.programs.get(self._scenario.service_of(program))
        return placed.data if placed else None

    @property
    def volumes(self) -> list[str]:
        """The volumes that the agent sees."""
        return list(self._project.volumes)

    async def create(self, program: str, environment: Mapping[str, str], tapped: bool) -> str:
        """A new container of a program, not started; its id."""
        service = self._scenario.service_of(program)
        template = self._templates[service]
        front = [LAUNCHER, "--socket", f"{SOCKETS}/{program}", "--"] if tapped else []
        volumes = {project.LAUNCHER_ROOT: (f"{self.name}_{project.LAUNCHER_VOLUME}", "ro")} if tapped else {}
        variables = {"PYTHONUNBUFFERED": "1", **environment}
        changes = Changes(front, volumes, variables, restarts=self._scenario.restart == "engine")
        self._made += 1
        # Compose's own numbers are taken by the containers that it made.
        name = f"{self.name}-{service}-run{self._made}"
        with engine.problems(f"making a container of {service}"):
            container = await in_thread(clones.create, self._client, template, name, changes)
        self._names[container] = name
        return container

    def restart_policy(self, program: str) -> str:
        """When the engine starts a program again: no, always, unless-stopped, on-failure."""
        policy = self._templates[self._scenario.service_of(program)].host.get("RestartPolicy") or {}
        return str(policy.get("Name") or "no")

    def name_of(self, container: str) -> str:
        """The name of a container, by which the engine's name service knows it."""
        return self._names[container]

    async def stop(self, container: str, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after the grace; one that is not running is left alone. Raises EnvironmentProblem."""
        with engine.problems("stopping a container"), contextlib.suppress(docker.errors.NotFound):
            await asyncio.to_thread(self._client.api.stop, container, round(grace_s))

    async def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes."""
        with engine.problems("removing a container"), contextlib.suppress(docker.errors.NotFound):
            await asyncio.to_thread(self._client.api.remove_container, container, v=True, force=True)

    async def fetch(self, path: str, destination: Path) -> None:
        """Copy a directory, as the agent sees it, to this machine. Raises EnvironmentProblem."""

        def copy() -> None:
            unpack(self._client.api.get_archive(self._agent, path)[0], destination)

        # Two at once would unpack into the same place; one that nobody waits for any more is over before the next.
        async with self._fetching:
            with engine.problems(f"copying {path}"):
                await in_thread(copy)

    # --- down ---

    async def close(self) -> None:
        """Remove everything that is this project's: containers, networks, volumes, images that were built.

        It comes to its end also when it is cancelled. Nothing happens the second time.
        """
        await to_its_end(self._close())

    async def _close(self) -> None:
        await self.link.close()
        if self._is_connected:
            self._is_connected = False
            try:
                await asyncio.to_thread(leftovers.remove_run, self._client, self.name, self._cut_off)
            finally:
                self._client.close()


def _agent_service() -> dict[str, Any]:
    """What the agent's service is beside what every project gives it."""
    return {
        "image": os.environ.get(_IMAGE_VARIABLE, _IMAGE),
        "command": ["python", "-m", "chaoskit.agent"],
        "environment": {"PYTHONPATH": agent_files.FOLDER, "PYTHONUNBUFFERED": "1"},
    }
