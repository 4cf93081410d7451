"""The services that stand behind the programs of a run: waited for when Compose has started them; the broker, hurt.

They are Compose's own containers, one for all runs in a project.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import docker

from chaoskit.agent.wire import AMQP_PORT
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose import engine, networks
from chaoskit.runtime.compose.uncancelled import in_thread

_POLL_S = 0.2
# A broker that does not end in order within this is killed, as by `docker stop`.
_BROKER_GRACE_S = 30


class Backing:
    """Containers of services, `ids` by their names; the one named `broker` is the broker, where there is one."""

    def __init__(self, client: docker.DockerClient, ids: Mapping[str, str], broker: str | None) -> None:
        self._api: Any = client.api
        self._ids, self._broker = ids, broker
        # A run that was given up may leave the broker down, and the next one needs it.
        self._may_be_down = False

    # --- any of them ---

    async def until_up(self, services: Sequence[str], within_s: float) -> None:
        """Wait until each is healthy, or has ended well when it is a job. Raises EnvironmentProblem for a dead one."""
        try:
            async with asyncio.timeout(within_s):
                for service in services:
                    await self._until_up(service)
        except TimeoutError:
            raise EnvironmentProblem(f"a service did not become healthy in {within_s:g} s") from None

    async def _until_up(self, service: str) -> None:
        # The broker is no job: one that has ended is dead, however it ended.
        is_job = service != self._broker
        while True:
            with engine.problems(f"waiting for {service}"):
                told = await asyncio.to_thread(self._api.inspect_container, self._ids[service])
            state = told["State"]
            health = (state.get("Health") or {}).get("Status", "healthy")
            if state["Status"] == "exited" and state["ExitCode"] == 0 and is_job:
                return
            stays_dead = told["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
            if state["Status"] in ("exited", "dead") and stays_dead:
                raise EnvironmentProblem(f"{service} ended with code {state['ExitCode']}: {await self._tail(service)}")
            if state["Running"] and health == "healthy":
                return
            if health == "unhealthy":
                # As many attempts have failed as the file allows: Compose takes such a service for failed too.
                said = " ".join(str(state["Health"]["Log"][-1]["Output"]).split())
                raise EnvironmentProblem(f"{service} is unhealthy: its check says {said or 'nothing'!r}")
            await asyncio.sleep(_POLL_S)

    async def _tail(self, service: str) -> str:
        with engine.problems(f"reading the log of {service}"):
            lines = await asyncio.to_thread(self._api.logs, self._ids[service], tail=3)
        return " | ".join(lines.decode(errors="replace").split("\n")).strip(" |") or "it printed nothing"

    # --- the broker ---

    @property
    def _broker_id(self) -> str:
        assert self._broker is not None
        return self._ids[self._broker]

    async def broker_ports(self) -> list[int]:
        """What the broker listens on beside AMQP, by its image and its service. Raises EnvironmentProblem."""
        with engine.problems("reading the broker's container"):
            told = await asyncio.to_thread(self._api.inspect_container, self._broker_id)
        return networks.forwarded_ports(told, AMQP_PORT)

    async def broker_pid(self) -> int:
        """Its first process id on the engine's machine; 0 when it does not run. Raises EnvironmentProblem."""
        with engine.problems("looking at the broker"):
            told = await asyncio.to_thread(self._api.inspect_container, self._broker_id)
        return int(told["State"]["Pid"])

    async def end_broker(self, kill: bool) -> None:
        """SIGKILL it, or stop it in order, and wait for its end. Raises EnvironmentProblem."""
        self._may_be_down = True
        with engine.problems("ending the broker"):
            await in_thread(self._kill_broker if kill else self._stop_broker)

    def _kill_broker(self) -> None:
        # The agent may have killed it already, and an engine that is to start it again may be about to.
        with contextlib.suppress(docker.errors.APIError):
            self._api.kill(self._broker_id)
        self._api.stop(self._broker_id, 0)

    def _stop_broker(self) -> None:
        self._api.stop(self._broker_id, _BROKER_GRACE_S)

    async def start_broker(self) -> int:
        """Start it again; its first process id, 0 when it ended at once. Raises EnvironmentProblem."""
        with engine.problems("starting the broker"):
            await in_thread(self._api.start, self._broker_id)
        return await self.broker_pid()

    async def check_broker(self) -> None:
        """Raises EnvironmentProblem, with its last lines, when it has ended."""
        assert self._broker is not None
        if not await self.broker_pid():
            raise EnvironmentProblem(f"it ended after its start: {await self._tail(self._broker)}")

    async def mend_broker(self, until_it_answers: Callable[[int], Awaitable[object]]) -> None:
        """Start it when a run may have left it down, and wait until it answers, which gets its first process id.

        Raises EnvironmentProblem.
        """
        if self._broker is not None and (self._may_be_down or not await self.broker_pid()):
            await until_it_answers(await self.start_broker())
            self._may_be_down = False
