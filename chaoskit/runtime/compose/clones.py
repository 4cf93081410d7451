"""Containers made after the model of one that Compose made: the same in everything, but started under the tap.

Compose reads the project and makes a container of each service; it is never started. Every run gets containers of its
own, made like it, so that a run begins with a fresh root file system and takes a fraction of what Compose would need.
"""

import io
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import docker

from chaoskit.model.errors import UsageError
from chaoskit.runtime.compose.injected import Injected

_ONE_ENDPOINT = 1


@dataclass(frozen=True)
class Template:
    """What a container is made of: as the engine tells it (`config`, `host`), and files that Compose would add."""

    service: str
    config: Mapping[str, Any]
    host: Mapping[str, Any]
    networks: Mapping[str, Mapping[str, Any]]
    files: Sequence[Injected] = ()

    @property
    def argv(self) -> list[str]:
        """The command that the container runs: entrypoint, then command."""
        return [*(self.config.get("Entrypoint") or ()), *(self.config.get("Cmd") or ())]


def template_of(client: docker.DockerClient, container: str, service: str, files: Sequence[Injected] = ()) -> Template:
    """The template that a created container is; `files` are what Compose puts into it only when it starts it."""
    told = client.api.inspect_container(container)
    networks = {name: _endpoint(told["Id"], settings) for name, settings in told["NetworkSettings"]["Networks"].items()}
    config = dict(told["Config"])
    if config.get("Hostname") == told["Id"][:12]:
        config.pop("Hostname")
    return Template(service, config, told["HostConfig"], networks, files)


def _endpoint(container_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a network has to know of a container; not what it found out by itself."""
    aliases = [alias for alias in settings.get("Aliases") or () if alias != container_id[:12]]
    return {
        "Aliases": aliases,
        "IPAMConfig": settings.get("IPAMConfig"),
        "Links": settings.get("Links"),
        "DriverOpts": settings.get("DriverOpts"),
    }


@dataclass(frozen=True)
class Changes:
    """How a clone differs: a command in front of its own, volumes at paths (`ro` or `rw`), variables, labels.

    `attached` keeps its standard input open until whoever attached first is gone.
    """

    front: Sequence[str] = ()
    volumes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    attached: bool = False
    restarts: bool = False


def create(client: docker.DockerClient, template: Template, name: str, changes: Changes) -> str:
    """Make a container; its id. Raises the errors of the Docker SDK, and UsageError when it has nothing to run."""
    config = {**template.config, **_command(template, changes)}
    config["Env"] = _merged(config.get("Env") or (), changes.environment)
    config["Labels"] = {**(config.get("Labels") or {}), **changes.labels}
    if changes.attached:
        config |= {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    mounts = [
        {"Type": "volume", "Source": volume, "Target": path, "ReadOnly": mode == "ro"}
        for path, (volume, mode) in changes.volumes.items()
    ]
    # Nobody asks how a program of a run feels, and each time would start a process that is none of the program's.
    config["Healthcheck"] = {"Test": ["NONE"]}
    host = dict(template.host)
    host["Mounts"] = [*(host.get("Mounts") or ()), *mounts]
    if not changes.restarts:
        host["RestartPolicy"] = {"Name": "no"}
    config["HostConfig"] = host
    first = dict(list(template.networks.items())[:_ONE_ENDPOINT])
    config["NetworkingConfig"] = {"EndpointsConfig": first}
    api: Any = client.api
    made: str = api.create_container_from_config(config, name)["Id"]
    # Engines before 25 take one network when a container is made; the others are joined before it starts.
    for network, endpoint in list(template.networks.items())[_ONE_ENDPOINT:]:
        address = (endpoint["IPAMConfig"] or {}).get("IPv4Address")
        api.connect_container_to_network(
            made,
            network,
            ipv4_address=address,
            aliases=endpoint["Aliases"],
            links=endpoint["Links"],
            driver_opt=endpoint["DriverOpts"],
        )
    for file in template.files:
        content = file.content if file.variable is None else os.environ.get(file.variable, "")
        api.put_archive(made, "/", tar_of(file.target, (content or "").encode(), file.mode, file.uid, file.gid))
    return made


def _command(template: Template, changes: Changes) -> dict[str, Any]:
    if not changes.front:
        return {}
    if not template.argv:
        raise UsageError(f"service {template.service}: neither the Compose file nor its image says what it runs")
    return {"Entrypoint": list(changes.front), "Cmd": template.argv}


def _merged(have: Iterable[str], more: Mapping[str, str]) -> list[str]:
    variables = dict(entry.partition("=")[::2] for entry in have)
    return [f"{name}={value}" for name, value in {**variables, **more}.items()]


def tar_of(path: str, content: bytes, mode: int, uid: int = 0, gid: int = 0) -> bytes:
    """A tar with one file, its path from the root on."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(path.lstrip("/"))
        member.size, member.mode, member.uid, member.gid = len(content), mode, uid, gid
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
