"""What a run changes in each service by itself, and what it refuses: names, ports, restarts, logs, other services."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from chaoskit.model.errors import UsageError

Service = dict[str, Any]
_LOOPBACK = "127.0.0.1"
# Drivers that keep the lines on the engine, where the run can read and remove them.
_OWN_LOGS = (None, "", "json-file", "local")
_NAMESPACES = ("pid", "ipc", "network_mode", "uts", "cgroup", "userns_mode")


def refuse(
    name: str, service: Mapping[str, Any], services: Mapping[str, Service], programs: Collection[str], is_broker: bool
) -> None:
    """Raises UsageError for what a run cannot work with; the line says what to change."""
    for problem in _problems(name, service, services, programs, is_broker):
        raise UsageError(f"service {name}: {problem} (an override file in `compose.files` can do so)")


def _problems(
    name: str, service: Mapping[str, Any], services: Mapping[str, Service], programs: Collection[str], is_broker: bool
) -> Iterator[str]:
    ours = name in programs or is_broker
    mode = str(service.get("network_mode") or "")
    if mode == "host":
        yield "`network_mode: host` takes ports of the host and passes the broker's proxy by: give it a network"
    if ours and mode in ("bridge", "default"):
        yield f"`network_mode: {mode}` has no names for other services: give it a network"
    if is_broker and mode:
        yield f"`network_mode: {mode}` of the broker leaves no room for the proxy in front of it: give it a network"
    if ours and (service.get("pid") == "host"):
        yield "`pid: host` mixes its processes with those of the host: take it out"
    if ours and _replicas(service) > 1:
        yield f"it has {_replicas(service)} replicas, a program is one container: set `scale: 1`"
    if service.get("provider"):
        yield "`provider` is not a container: leave it out"
    for field in _NAMESPACES:
        yield from _shared(name, field, str(service.get(field) or ""), services, programs)
    for source in service.get("volumes_from") or ():
        if str(source).startswith("container:"):
            yield f"`volumes_from: {source}` is a container that is not the project's: take it out"


def _shared(
    name: str, field: str, value: str, services: Mapping[str, Service], programs: Collection[str]
) -> Iterator[str]:
    kind, _, other = value.partition(":")
    if kind == "container":
        yield f"`{field}: {value}` is a container that is not the project's: take it out"
    if kind == "service" and other not in services:
        yield f"`{field}: {value}`: that service takes no part in the run: take it out"
    if kind == "service" and (name in programs or other in programs):
        yield f"`{field}: {value}` ties a program to another container, whose lives are not its own: take it out"


def _replicas(service: Mapping[str, Any]) -> int:
    declared = service.get("scale", (service.get("deploy") or {}).get("replicas"))
    return 1 if declared is None else int(declared)


def waits_for(service: Mapping[str, Any], programs: Collection[str]) -> dict[str, str]:
    """The backing services that it depends on, each with the condition that Compose would wait for."""
    depends_on = service.get("depends_on") or {}
    return {
        name: str((how or {}).get("condition") or "service_started")
        for name, how in depends_on.items()
        if name not in programs
    }


def change(name: str, service: Service, is_program: bool, keeps_restarting: bool, notes: list[str]) -> None:
    """Take out of a service what two runs would fight for, and what would act behind the run's back."""
    service.pop("profiles", None)
    service.pop("develop", None)
    service.pop("attach", None)
    _free_name(service)
    _free_ports(service)
    if not keeps_restarting:
        _never_restart(service)
    if is_program:
        service.pop("depends_on", None)
        service["scale"] = 1
        _one_container(service)
    _keep_logs(name, service, is_program, notes)
    if service.pop("external_links", None):
        notes.append(f"{name}: `external_links` lead out of the project and are left out")


def _free_name(service: Service) -> None:
    """Others may call it by its container's name: it stays a name in its networks."""
    name = service.pop("container_name", None)
    if name is None or service.get("network_mode"):
        return
    service["networks"] = {network: with_aliases(how, [name]) for network, how in service["networks"].items()}


def with_aliases(how: Mapping[str, Any] | None, names: Collection[str]) -> dict[str, Any]:
    """How a service takes part in a network, with more names there."""
    aliases = dict.fromkeys([*((how or {}).get("aliases") or ()), *names])
    return {**(how or {}), "aliases": list(aliases)}


def _free_ports(service: Service) -> None:
    """A port of the host becomes one that the engine chooses, on the loopback."""
    freed = []
    for port in service.get("ports") or ():
        free = {field: value for field, value in port.items() if field not in ("published", "name")}
        free["host_ip"] = _LOOPBACK
        if free not in freed:
            freed.append(free)
    if freed:
        service["ports"] = freed


def _never_restart(service: Service) -> None:
    service["restart"] = "no"
    if service.get("deploy"):
        service["deploy"].pop("restart_policy", None)


def _one_container(service: Service) -> None:
    if service.get("deploy"):
        service["deploy"].pop("replicas", None)


def _keep_logs(name: str, service: Service, is_program: bool, notes: list[str]) -> None:
    """Verdicts and triggers are lines, so those of programs must not be rotated away nor sent elsewhere."""
    logging = service.get("logging") or {}
    if logging.get("driver") not in _OWN_LOGS:
        notes.append(f"{name}: its lines stay on the engine instead of going to {logging['driver']}")
        service["logging"] = {"driver": "json-file"}
    elif is_program:
        service["logging"] = {"driver": "json-file"}


def drop_references(
    name: str, service: Service, services: Mapping[str, Service], programs: Collection[str], notes: list[str]
) -> None:
    """Take out what refers to services that Compose does not start: programs, and those that take no part."""
    depends_on = service.get("depends_on") or {}
    for other in list(depends_on):
        if other in programs:
            notes.append(f"{name}: it does not wait for {other}, which the run starts later")
        if other in programs or other not in services:
            del depends_on[other]
    links = [link for link in service.get("links") or () if link.partition(":")[0] in services]
    if links != list(service.get("links") or ()):
        service["links"] = links


def name_links(service: Service, services: Mapping[str, Service]) -> None:
    """A link to a service under another name becomes one more name of that service, in the networks of both.

    A link leads to a container, and a program's containers come and go. Where there are no networks, or where the name
    belongs to another service, the link stays.
    """
    kept = []
    for link in service.get("links") or ():
        other, _, alias = str(link).partition(":")
        shared = set(service.get("networks") or ()) & set(services[other].get("networks") or ())
        if not shared or (alias in services and alias != other):
            kept.append(link)
        for network in shared if alias and link not in kept else ():
            services[other]["networks"][network] = with_aliases(services[other]["networks"][network], [alias])
    service["links"] = kept


def add_environment(service: Service, environment: Mapping[str, str]) -> None:
    """Set variables of a program; those of the scenario win over those of the file."""
    service["environment"] = {**(service.get("environment") or {}), **environment}
