"""Finds and removes what runs made on an engine: at the end of a run, and of runs whose chaoskit was killed.

Only what carries our labels is looked at. What a run made is removed whoever it belongs to; what is an orphan is judged
by its owner, a process of this host. It never prunes, and leaves images alone that a foreign container still uses.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import docker
import docker.errors
import requests.exceptions

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose import engine, labels

Kind = Literal["container", "network", "volume", "image"]
# Containers hold networks, volumes and images, so they go first.
_ORDER: tuple[Kind, ...] = ("container", "network", "volume", "image")
_LIMIT_S = 45.0
_AGAIN_S = 0.2
# An engine goes on making what it was asked for when whoever asked is gone, and does not list it before it is made.
_SETTLED_S = 1.5
_AT_ONCE = 4
_CONFLICT = (403, 409)
# Compose writes it into the images that it builds.
_COMPOSE_PROJECT = "com.docker.compose.project"


class Leftover(NamedTuple):
    """A thing on the engine that a run made. `name` is for people, `key` for the engine."""

    kind: Kind
    name: str
    key: str
    run: str
    owner: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def find(client: docker.DockerClient, run: str | None = None) -> list[Leftover]:
    """What runs (or the one that is named) made, in the order in which it can be removed.

    Raises EnvironmentProblem when the engine does not answer.
    """
    with engine.problems("looking for what runs left behind"):
        return [thing for kind in _ORDER for thing in _LISTED[kind](client, run)]


def orphans(client: docker.DockerClient) -> list[Leftover]:
    """What runs made whose chaoskit, a process of this host, is gone."""
    return [thing for thing in find(client) if labels.is_gone(thing.owner)]


def remove_run(
    client: docker.DockerClient, run: str, cut_off: bool = False, timeout_s: float = _LIMIT_S
) -> list[Leftover]:
    """Remove all that a run made; what it was. Also while something of it is still being made, or the engine restarts.

    With `cut_off`, what made it was ended in the middle. Raises EnvironmentProblem that names what could not be removed
    in `timeout_s`.
    """
    return _remove(client, lambda: find(client, run), _SETTLED_S if cut_off else 0.0, timeout_s)


def remove_orphans(client: docker.DockerClient, cut_off: bool = False, timeout_s: float = _LIMIT_S) -> list[Leftover]:
    """Remove all that runs left behind whose chaoskit is gone; what it was. As `remove_run` does it."""
    return _remove(client, lambda: orphans(client), _SETTLED_S if cut_off else 0.0, timeout_s)


def _remove(
    client: docker.DockerClient, look: Callable[[], list[Leftover]], settled_s: float, timeout_s: float
) -> list[Leftover]:
    """Look and remove until nothing is found for a while: what is half made shows up late, what is in use is free."""
    removed: dict[Leftover, None] = {}
    deadline_s = time.monotonic() + timeout_s
    quiet_since_s: float | None = None
    while True:
        problem = ""
        try:
            found = look()
            for thing, problem_of_it in _removed(client, found):
                if problem_of_it:
                    problem = f"{thing} cannot be removed: {problem_of_it}"
                else:
                    removed[thing] = None
        except EnvironmentProblem as e:
            found, problem = [], str(e)
        if not found and not problem:
            quiet_since_s = quiet_since_s or time.monotonic()
            if time.monotonic() - quiet_since_s >= settled_s:
                return list(removed)
            time.sleep(_AGAIN_S)
            continue
        quiet_since_s = None
        if time.monotonic() > deadline_s:
            raise EnvironmentProblem(problem or f"{found[0]} comes back after it was removed")
        if problem:
            time.sleep(_AGAIN_S)


def _removed(client: docker.DockerClient, things: Iterable[Leftover]) -> list[tuple[Leftover, str]]:
    """Each thing with what kept it from going; containers side by side, as each takes its time to die."""
    of_kind: dict[Kind, list[Leftover]] = {kind: [thing for thing in things if thing.kind == kind] for kind in _ORDER}
    done: list[tuple[Leftover, str]] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for kind in _ORDER:
            done += pool.map(lambda thing: (thing, _try(client, thing)), of_kind[kind])
    return done


def _try(client: docker.DockerClient, thing: Leftover) -> str:
    """Remove one thing; why it is still there, empty when it is not."""
    try:
        _REMOVE[thing.kind](client, thing)
    except docker.errors.NotFound:
        return ""
    except docker.errors.APIError as e:
        return str(e.explanation or e)
    except requests.exceptions.RequestException as e:
        return str(engine.problem_of(e, "removing it"))
    return ""


# --- what there is ---


def _filters(label: str, run: str | None) -> dict[str, str]:
    return {"label": label if run is None else f"{label}={run}"}


def _containers(client: docker.DockerClient, run: str | None) -> list[Leftover]:
    found: list[dict[str, Any]] = client.api.containers(all=True, filters=_filters(labels.RUN, run))
    return [_ours("container", _first(it.get("Names"), it["Id"]), it["Id"], it["Labels"]) for it in found]


def _networks(client: docker.DockerClient, run: str | None) -> list[Leftover]:
    found: list[dict[str, Any]] = client.api.networks(filters=_filters(labels.RUN, run))
    return [_ours("network", it["Name"], it["Id"], it["Labels"]) for it in found]


def _volumes(client: docker.DockerClient, run: str | None) -> list[Leftover]:
    found: list[dict[str, Any]] = client.api.volumes(filters=_filters(labels.RUN, run)).get("Volumes") or []
    return [_ours("volume", it["Name"], it["Name"], it["Labels"]) for it in found]


def _images(client: docker.DockerClient, run: str | None) -> list[Leftover]:
    found: list[dict[str, Any]] = client.api.images(all=True, filters=_filters(labels.IMAGE_RUN, run))
    return [
        Leftover("image", tag, tag, it["Labels"][labels.IMAGE_RUN], it["Labels"].get(labels.IMAGE_OWNER, ""))
        for it in found
        for tag in _own_tags(it)
    ]


def _own_tags(image: Mapping[str, Any]) -> list[str]:
    """The names that the run gave it; its id when it has no name. One that somebody else gave it keeps it there."""
    tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
    project = image["Labels"].get(_COMPOSE_PROJECT, image["Labels"][labels.IMAGE_RUN])
    return [tag for tag in tags if tag.startswith(f"{project}-")] if tags else [image["Id"]]


def _ours(kind: Kind, name: str, key: str, found: Mapping[str, str]) -> Leftover:
    return Leftover(kind, name, key, found[labels.RUN], found.get(labels.OWNER, ""))


def _first(names: Iterable[str] | None, default: str) -> str:
    return next(iter(names or ()), default).lstrip("/")


# --- how it goes ---


def _remove_container(client: docker.DockerClient, thing: Leftover) -> None:
    # `v` takes the anonymous volumes along, which carry no label.
    client.api.remove_container(thing.key, v=True, force=True)


def _remove_network(client: docker.DockerClient, thing: Leftover) -> None:
    try:
        client.api.remove_network(thing.key)
    except docker.errors.APIError as e:
        if e.status_code not in _CONFLICT:
            raise
        _free(client, thing.key)
        client.api.remove_network(thing.key)


def _free(client: docker.DockerClient, network: str) -> None:
    """Endpoints of containers that are no more hold a network after an engine was killed."""
    for container in client.api.inspect_network(network).get("Containers") or {}:
        try:
            client.api.inspect_container(container)
        except docker.errors.NotFound:
            with contextlib.suppress(docker.errors.APIError):
                client.api.disconnect_container_from_network(container, network, force=True)


def _remove_volume(client: docker.DockerClient, thing: Leftover) -> None:
    client.api.remove_volume(thing.key)


def _remove_image(client: docker.DockerClient, thing: Leftover) -> None:
    client.api.remove_image(thing.key)


_LISTED: dict[Kind, Callable[[docker.DockerClient, str | None], list[Leftover]]] = {
    "container": _containers,
    "network": _networks,
    "volume": _volumes,
    "image": _images,
}
_REMOVE: dict[Kind, Callable[[docker.DockerClient, Leftover], None]] = {
    "container": _remove_container,
    "network": _remove_network,
    "volume": _remove_volume,
    "image": _remove_image,
}
