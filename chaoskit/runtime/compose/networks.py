"""The networks of a run: the user's with no fixed name and no fixed subnet, and the agent in the broker's place.

The broker moves to a network where only the agent is beside it; on the networks that it was on, the agent has its names
and its fixed addresses. So programs talk to the broker's name as ever, and reach the proxy.
"""

from collections.abc import Mapping
from typing import Any

from chaoskit.model.errors import UsageError
from chaoskit.runtime.compose.services import with_aliases

AGENT = "chaoskit-agent"
BROKER_NETWORK = "chaoskit-broker"
# The broker's name on that network: its own name is the agent's everywhere else.
BROKER_ADDRESS = "broker.chaoskit.internal"
_ADDRESSES = ("ipv4_address", "ipv6_address", "link_local_ips")
# Fixed names of interfaces on the engine's host, which two runs would fight for.
_FIXED_OPTIONS = ("com.docker.network.bridge.name", "com.docker.network.container_iface_prefix")

Service = dict[str, Any]


def change(document: dict[str, Any], notes: list[str]) -> None:
    """Take names, subnets and foreign grounds from the networks of a document."""
    services: dict[str, Service] = document["services"]
    for name, network in document["networks"].items():
        users = [s["networks"][name] or {} for s in services.values() if name in (s.get("networks") or {})]
        document["networks"][name] = _own(name, network, any(_is_fixed(how) for how in users), bool(users), notes)


def _own(name: str, network: Mapping[str, Any], fixed: bool, used: bool, notes: list[str]) -> dict[str, Any]:
    driver = network.get("driver")
    why = "it is external" if network.get("external") else f"its driver is {driver}"
    if network.get("external") or driver not in (None, "", "bridge", "default"):
        if used:
            notes.append(
                f"network {name}: {why}; the run has one of its own in its place, what is on yours is not reached"
            )
        return {}
    fixed_fields = ("name", "ipam", "driver_opts", *(() if fixed else ("enable_ipv6",)))
    kept = {field: value for field, value in network.items() if field not in fixed_fields}
    options = {o: value for o, value in (network.get("driver_opts") or {}).items() if o not in _FIXED_OPTIONS}
    if options:
        kept["driver_opts"] = options
    if fixed:
        kept["ipam"] = network.get("ipam") or {}
        notes.append(f"network {name}: it has fixed addresses, so no second run of it fits on the same engine")
    return kept


def _is_fixed(how: Mapping[str, Any]) -> bool:
    return any(how.get(field) for field in _ADDRESSES)


def add_agent(document: dict[str, Any], broker: str | None, fields: Mapping[str, Any], notes: list[str]) -> None:
    """Add the agent to a document, with these fields of its service, in front of the broker where there is one."""
    services: dict[str, Service] = document["services"]
    agent: Service = {"pid": "host", "user": "0:0", "restart": "no", "scale": 1, **fields}
    # Where the engine maps users, processes of the host are seen without the map only; a profile of AppArmor would not
    # let it look into programs that have another one.
    agent["userns_mode"] = "host"
    agent["security_opt"] = ["apparmor=unconfined"]
    # All that it says is in the engine's log of it too, which nobody reads; an exploration says a lot.
    agent["logging"] = {"driver": "json-file", "options": {"max-size": "1m"}}
    agent["cap_add"] = sorted({"SYS_PTRACE", *fields.get("cap_add", ())})
    services[AGENT] = agent
    if broker is None:
        agent["network_mode"] = "none"
        return
    service = services[broker]
    networks = service["networks"]
    cut_off = service.get("depends_on") or ()
    notes += [
        f"{broker}: the broker does not reach {other}, it is on a network with the proxy alone" for other in cut_off
    ]
    agent["networks"] = {name: with_aliases(how, _names(broker, service)) for name, how in networks.items()}
    agent["networks"][BROKER_NETWORK] = None
    service["networks"] = {BROKER_NETWORK: {"aliases": [BROKER_ADDRESS]}}
    document["networks"][BROKER_NETWORK] = {}
    service.pop("links", None)


def _names(broker: str, service: Mapping[str, Any]) -> list[str]:
    """What others may call the broker on each of its networks. Its container's name is among its aliases already."""
    return [broker, *([str(service["hostname"])] if service.get("hostname") else [])]


def forwarded_ports(container: Mapping[str, Any], amqp_port: int) -> list[int]:
    """TCP ports of a created broker (as `docker inspect` shows it) that are passed on as they are: all but the proxy's.

    Raises UsageError when a port cannot be read.
    """
    exposed = (container.get("Config") or {}).get("ExposedPorts") or {}
    ports = [entry.partition("/") for entry in exposed]
    try:
        found = {int(number) for number, _, protocol in ports if protocol in ("", "tcp")}
    except ValueError:
        raise UsageError(f"the broker exposes {', '.join(exposed)}: these are no ports") from None
    return sorted(found - {amqp_port})
