"""Takes containers of a run away from their networks, and its broker down, and undoes it.

A container comes back to a network with the names that it had there, and with its address where the project fixes one;
otherwise the engine gives it a free address, mostly the same. The broker's container is stopped and started, never made
anew: what it keeps on its volumes, anonymous ones too, is there again.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import docker

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose import clones, engine
from chaoskit.runtime.compose.stack import Stack
from chaoskit.runtime.compose.uncancelled import in_thread


class Breaking:
    """The networks and the broker of one run in `stack`; `container_of` gives the container of a program."""

    def __init__(self, stack: Stack, container_of: Callable[[str], str]) -> None:
        self._stack, self._container_of = stack, container_of
        self._endpoints: dict[str, Mapping[str, Mapping[str, Any]]] = {}

    @property
    def _api(self) -> Any:
        return self._stack.client.api

    async def disconnect(self, program: str) -> None:
        """Take a program's container from all of its networks. Raises EnvironmentProblem."""
        with engine.problems(f"disconnecting {program}"):
            await in_thread(self._disconnect, program)

    def _disconnect(self, program: str) -> None:
        container = self._container_of(program)
        endpoints = clones.template_of(self._stack.client, container, program).networks
        if not endpoints:
            raise EnvironmentProblem(f"{program} has no network of its own that it could be taken from")
        self._endpoints[program] = endpoints
        for network in endpoints:
            self._api.disconnect_container_from_network(container, network, force=True)

    async def connect(self, program: str) -> None:
        """Undo `disconnect`; a container that is gone meanwhile needs no network. Raises EnvironmentProblem."""
        with engine.problems(f"connecting {program}"), contextlib.suppress(docker.errors.NotFound):
            await in_thread(self._connect, program)

    def _connect(self, program: str) -> None:
        for network, endpoint in self._endpoints.pop(program, {}).items():
            address = endpoint["IPAMConfig"] or {}
            self._api.connect_container_to_network(
                self._container_of(program),
                network,
                ipv4_address=address.get("IPv4Address"),
                ipv6_address=address.get("IPv6Address"),
                aliases=endpoint["Aliases"],
                links=endpoint["Links"],
                driver_opt=endpoint["DriverOpts"],
            )

    async def end_broker(self, kill: bool) -> None:
        await self._stack.backing.end_broker(kill)

    async def start_broker(self) -> int:
        return await self._stack.backing.start_broker()

    async def check_broker(self) -> None:
        await self._stack.backing.check_broker()
