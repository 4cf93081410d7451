"""A user's Compose project made into one of a run: a pure function of the project and of what the run needs.

It reads no file and asks no engine. What it changes, and why, is in docs/compose.md. The rule: whatever the run does,
nothing that is not the run's own is written, taken or named; what cannot be kept to that is refused in one line.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from chaoskit.model.errors import UsageError
from chaoskit.runtime.compose import images, injected, mounts, networks, selection, services
from chaoskit.runtime.compose.injected import Injected
from chaoskit.runtime.compose.labels import of_image, of_run
from chaoskit.runtime.compose.mounts import Place

AGENT = networks.AGENT
DATA_ROOT = mounts.DATA_ROOT
LAUNCHER_VOLUME = mounts.LAUNCHER_VOLUME
LAUNCHER_ROOT = mounts.LAUNCHER_ROOT
BROKER_ADDRESS = networks.BROKER_ADDRESS


class Needs(NamedTuple):
    """What a run needs of a program's service. `watched`: it is a target, its data directory has to be on a volume."""

    environment: Mapping[str, str] = {}
    data_dir: str = "/app/worker-data"
    watched: bool = False


class Changes(NamedTuple):
    """What makes a project one of a run.

    `name` is the Compose project's new name, `run` the run's id, `owner` is from `labels.owner`. `programs` has the
    scenario's programs by the names of their services. `broker` names the broker's service; None: look for it;
    `has_broker` False: there is none. `agent` has fields of the agent's service beside those that are always there.
    `missing` are sources of bind mounts that hold nothing (`command.missing`).
    """

    name: str
    run: str
    owner: str
    programs: Mapping[str, Needs]
    agent: Mapping[str, Any]
    broker: str | None = None
    has_broker: bool = True
    engine_restarts: bool = False
    profiles: Collection[str] = ()
    missing: Collection[str] = ()
    exclude: Collection[str] = ()


class Placed(NamedTuple):
    """A program in the run's project.

    `data` is where its data directory is, None when it has none that outlives its container. `waits_for` names backing
    services with the condition that they must have met before it starts (`service_healthy`...). `files` are what
    Compose would put into its container at its start. `fresh` has the volumes that take the place of something else,
    and where they are mounted: they are for `owners.give`.
    """

    data: Place | None
    waits_for: Mapping[str, str]
    files: Sequence[Injected]
    fresh: Mapping[str, str] = {}


class RunProject(NamedTuple):
    """The project of a run: `document` for `command.compose`, and what is in it.

    `backing` are the services that Compose starts: all but the programs and the agent; the broker is one of them.
    `images` are the names of the images that are built, `volumes` the keys of those that the agent sees below /data:
    the ones with data directories, and whatever else programs alone write to. `notes` are lines for the user: what is
    not as in his file.
    """

    document: dict[str, Any]
    programs: Mapping[str, Placed]
    backing: Sequence[str]
    broker: str | None
    images: Sequence[str]
    volumes: Sequence[str]
    notes: Sequence[str]


def transform(project: Mapping[str, Any], changes: Changes) -> RunProject:
    """The project of a run made of a resolved one (`command.resolve`), which stays as it is.

    Raises UsageError, one line that says what to change, for a service that does not exist and for what a run cannot
    do to a program.
    """
    chosen = selection.choose(project["services"], changes.programs, changes.profiles, changes.exclude)
    document = _kept(project, chosen)
    found: dict[str, dict[str, Any]] = document["services"]
    notes: list[str] = []
    broker = selection.broker_of(found, changes.programs, changes.broker) if changes.has_broker else None
    for name, service in found.items():
        services.refuse(name, service, found, changes.programs, name == broker)
    waits = {name: services.waits_for(found[name], changes.programs) for name in changes.programs}
    for name, service in found.items():
        keeps_restarting = name not in changes.programs and name != broker
        services.change(name, service, name in changes.programs, keeps_restarting or changes.engine_restarts, notes)
        services.drop_references(name, service, found, changes.programs, notes)
        services.name_links(service, found)
        if name in changes.programs:
            services.add_environment(service, changes.programs[name].environment)
    data_dirs = {name: (needs.data_dir, needs.watched) for name, needs in changes.programs.items()}
    places, fresh = mounts.change(document, data_dirs, changes.missing, notes)
    built = images.rename(found, changes.name, of_image(changes.run, changes.owner))
    networks.change(document, notes)
    volumes = mounts.keys_of(places, found)
    networks.add_agent(document, broker, {**changes.agent, "volumes": mounts.for_agent(volumes)}, notes)
    _label(document, of_run(changes.run, changes.owner))
    document["name"] = changes.name
    programs = {
        name: Placed(
            places[name],
            waits[name],
            injected.files_of(found[name], document),
            mounts.fresh_in(found[name], fresh),
        )
        for name in changes.programs
    }
    backing = [name for name in found if name not in changes.programs and name != AGENT]
    return RunProject(document, programs, backing, broker, built, volumes, notes)


def _kept(project: Mapping[str, Any], chosen: Collection[str]) -> dict[str, Any]:
    """A copy with the chosen services only, and without the parts that mean nothing to a run."""
    document = copy.deepcopy({name: part for name, part in project.items() if not name.startswith("x-")})
    document.pop("version", None)
    document["services"] = {name: service for name, service in document["services"].items() if name in chosen}
    if AGENT in document["services"]:
        raise UsageError(f"a service of the Compose file is named {AGENT}, as one of chaoskit's: rename it")
    for service in document["services"].values():
        if not service.get("network_mode") and not service.get("networks"):
            service["networks"] = {"default": None}
    for part in ("networks", "volumes", "configs", "secrets"):
        document[part] = {name: value or {} for name, value in (document.get(part) or {}).items()}
    document["networks"].setdefault("default", {})
    for value in (*document["configs"].values(), *document["secrets"].values()):
        if not value.get("external"):
            value.pop("name", None)
    return document


def _label(document: dict[str, Any], labels: Mapping[str, str]) -> None:
    """Our labels on all that Compose makes of the document."""
    for part in ("services", "networks", "volumes"):
        for thing in document[part].values():
            thing["labels"] = {**(thing.get("labels") or {}), **labels}
