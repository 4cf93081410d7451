"""Which services of a project take part in a run, and which of them is the broker."""

from collections.abc import Collection, Mapping
from typing import Any

from chaoskit.model.errors import UsageError

_AMQP_PORT = 5672

Services = Mapping[str, Mapping[str, Any]]


def choose(
    services: Services, programs: Collection[str], profiles: Collection[str], exclude: Collection[str]
) -> set[str]:
    """The programs, the services without a profile or with one of these, and whatever they depend on.

    Raises UsageError for a program that is no service.
    """
    for name in (*programs, *exclude):
        if name not in services:
            raise UsageError(f"there is no service {name!r} in the Compose file (services: {_listed(services)})")
    wanted = [name for name, service in services.items() if name in programs or _is_on(service, profiles)]
    chosen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in chosen and name not in exclude:
            chosen.add(name)
            wanted += _needed_by(services[name], services)
    return chosen


def _is_on(service: Mapping[str, Any], profiles: Collection[str]) -> bool:
    own = service.get("profiles") or ()
    return not own or "*" in profiles or any(profile in own for profile in profiles)


def _needed_by(service: Mapping[str, Any], services: Services) -> list[str]:
    """What it depends on, but for what it can do without."""
    depends_on = service.get("depends_on") or {}
    return [name for name, how in depends_on.items() if name in services and (how or {}).get("required", True)]


def _listed(services: Services) -> str:
    return ", ".join(sorted(services)) or "none"


def broker_of(services: Services, programs: Collection[str], named: str | None) -> str:
    """The service that is the broker: the one that is `named`, else the only one that looks like it.

    Raises UsageError when there is none, or more than one.
    """
    if named is not None:
        if named not in services:
            raise UsageError(f"there is no service {named!r} to be the broker (services: {_listed(services)})")
        if named in programs:
            raise UsageError(f"{named} is a program of the scenario, it cannot be the broker too")
        return named
    others = {name: service for name, service in services.items() if name not in programs}
    for looks_like in (_is_rabbitmq, _listens_for_amqp, _is_named_so):
        found = [name for name, service in others.items() if looks_like(name, service)]
        if len(found) > 1:
            raise UsageError(f"{' and '.join(found)} both look like the broker: name one in `compose.broker`")
        if found:
            return found[0]
    raise UsageError(
        f"no service looks like an AMQP broker: name it in `compose.broker` (services: {_listed(others)}), "
        "or say `broker: false` when the programs need none"
    )


def _is_rabbitmq(_: str, service: Mapping[str, Any]) -> bool:
    image = str(service.get("image") or "")
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0] in ("rabbitmq", "lavinmq")


def _listens_for_amqp(_: str, service: Mapping[str, Any]) -> bool:
    targets = [port.get("target") for port in service.get("ports") or ()]
    exposed = [str(port).partition("/")[0] for port in service.get("expose") or ()]
    return _AMQP_PORT in targets or str(_AMQP_PORT) in exposed


def _is_named_so(name: str, service: Mapping[str, Any]) -> bool:
    # `rabbitmq-exporter` and its kind speak to a broker, so the name alone has to be the broker's.
    names = {name.lower(), str(service.get("hostname") or "").lower(), str(service.get("container_name") or "").lower()}
    return bool(names & {"rabbitmq", "rabbit", "lavinmq", "broker", "amqp", "mq"})
