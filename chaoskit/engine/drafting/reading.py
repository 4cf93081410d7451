"""A Compose project as `chaoskit init` looks at it: its services, whoever resolved them.

Docker Compose resolves the files where it is installed (the engine need not run). Without it they are read as YAML,
with the defaults of their variables and the short forms written out: enough to guess from, not to run.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.model import sources
from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.runtime.compose import command
from chaoskit.runtime.compose.command import Files

_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")
_WHOLE_VARIABLE = re.compile(r"\$\{(\w+):?-([^}]*)\}")
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Mount:
    """A place inside the container that outlives it. `source` is the volume or the path, `kind` volume or bind."""

    kind: str
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Service:
    """What a guess needs of a service. `variables` are parameters that its environment takes from outside, by default.

    `on` is whether Compose would start it with the profiles that were named.
    """

    name: str
    image: str = ""
    builds: bool = False
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    restart: str = ""
    on: bool = True


@dataclass(frozen=True)
class Project:
    """The services of a project; `document` in Compose's own (resolved) form, `note` what the user has to know."""

    services: tuple[Service, ...]
    document: Mapping[str, Any]
    note: str = ""


def read(files: Files) -> Project:
    """The project in `files`. Raises UsageError when it cannot be read or Compose refuses it."""
    raw = _merged([_mapping(path) for path in files.files])
    document, note = _resolved(files, raw)
    services = _as_ordered(document["services"], raw["services"])
    return Project(tuple(_service(name, service or {}, raw) for name, service in services.items()), document, note)


def _mapping(path: Path) -> dict[str, Any]:
    data = sources.read(path).data
    if not isinstance(data, dict) or not isinstance(data.get("services"), dict):
        raise UsageError(f"{path}: there are no services in it: is this a Compose file?")
    return data


def _resolved(files: Files, raw: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The project as Compose understands it, else what the YAML says, and why."""
    if shutil.which("docker") is None:
        return _as_written(raw, files.profiles), "there is no `docker` command: the file was read without Compose"
    try:
        return asyncio.run(command.resolve(files, dict(os.environ))), ""
    except EnvironmentProblem as e:
        return _as_written(raw, files.profiles), f"the file was read without Compose: {e}"


# --- without Compose ---


def _merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Later files win, field by field of a service, and variable by variable of its environment."""
    services: dict[str, dict[str, Any]] = {}
    for document in documents:
        for name, service in document["services"].items():
            before = services.get(str(name), {})
            after = service if isinstance(service, dict) else {}
            environment = {**_pairs(before.get("environment")), **_pairs(after.get("environment"))}
            services[str(name)] = {**before, **after, "environment": environment}
    return {"services": services}


def _pairs(value: Any) -> dict[str, Any]:
    """A mapping from either form that Compose takes: a mapping, or a list of NAME=VALUE."""
    if isinstance(value, dict):
        return {str(name): inner for name, inner in value.items()}
    items = [str(item).partition("=") for item in value] if isinstance(value, list) else []
    return {name: inner for name, _, inner in items}


def _as_written(raw: Mapping[str, Any], profiles: Sequence[str]) -> dict[str, Any]:
    services = {}
    for name, service in raw["services"].items():
        written = _with_defaults(service)
        written["volumes"] = [_mount(volume) for volume in written.get("volumes") or ()]
        written["ports"] = [_port(port) for port in written.get("ports") or ()]
        written["depends_on"] = _named(written.get("depends_on"))
        if set(written.get("profiles") or ()) & {*profiles, "*"}:
            written.pop("profiles", None)
        services[name] = written
    return {"services": services}


def _with_defaults(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _with_defaults(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_defaults(inner) for inner in value]
    return _VARIABLE.sub(lambda m: os.environ.get(m[1] or m[3], m[2] or ""), value) if isinstance(value, str) else value


def _mount(volume: Any) -> dict[str, Any]:
    if isinstance(volume, dict):
        return volume
    parts = str(volume).split(":")
    if len(parts) == 1:
        return {"type": "volume", "source": "", "target": parts[0]}
    kind = "bind" if parts[0][:1] in "./~" else "volume"
    return {"type": kind, "source": parts[0], "target": parts[1], "read_only": "ro" in parts[2:]}


def _port(port: Any) -> dict[str, Any]:
    target = str(port.get("target") if isinstance(port, dict) else port).partition("/")[0].rpartition(":")[2]
    return {"target": int(target) if target.isdecimal() else target}


def _named(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {str(name): {} for name in value or ()}


# --- of both ---


def _service(name: str, service: Mapping[str, Any], raw: Mapping[str, Any]) -> Service:
    policy = (service.get("deploy") or {}).get("restart_policy") or {}
    written = raw["services"].get(name, {})
    environment = _as_ordered(service.get("environment") or {}, _pairs(written.get("environment")))
    return Service(
        name,
        image=str(service.get("image") or ""),
        builds="build" in service,
        after=tuple(service.get("depends_on") or ()),
        environment={key: _text(value) for key, value in environment.items()},
        variables=_variables(written.get("environment")),
        mounts=tuple(_mounted(mount) for mount in service.get("volumes") or ()),
        restart=str(service.get("restart") or policy.get("condition") or ""),
        on=not service.get("profiles"),
    )


def _as_ordered(found: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """What Compose sorts by name, in the order in which the user wrote it."""
    return {name: found[name] for name in dict.fromkeys([*(n for n in written if n in found), *found])}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _mounted(mount: Mapping[str, Any]) -> Mount:
    kind, source = str(mount.get("type") or "volume"), _text(mount.get("source"))
    return Mount(kind, source, _text(mount.get("target")), bool(mount.get("read_only")))


def _variables(environment: Any) -> dict[str, str]:
    """Numbers that are passed on under their own name: `NUM_CHUNKS: ${NUM_CHUNKS:-3}`, what a user may want to set."""
    found = {}
    for name, value in _pairs(environment).items():
        whole = _WHOLE_VARIABLE.fullmatch(value) if isinstance(value, str) else None
        if whole and whole[1] == name and _NUMBER.fullmatch(whole[2]):
            found[name] = whole[2]
    return found
