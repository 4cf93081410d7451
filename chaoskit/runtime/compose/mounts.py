"""Where data lives in a run: every directory that a program is watched in, and what the user keeps, on other ground.

A volume of the run takes the place of whatever holds data of the user's: external volumes, volumes that are a directory
or a share in disguise, bind mounts of data. Bind mounts of anything else are mounted read-only.
"""

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from chaoskit.model.errors import UsageError

LAUNCHER_VOLUME = "chaoskit-launcher"
LAUNCHER_ROOT = "/.chaoskit"
DATA_ROOT = "/data"
# Where images that are not built here keep what they are told to keep.
_KEEPING = ("/var/lib", "/var/log", "/data", "/bitnami")
_ENGINE_SOCKET = "docker.sock"

Mount = dict[str, Any]
Service = dict[str, Any]


class Place(NamedTuple):
    """A data directory: in the volume with this key, `path` below its root (empty: the root itself).

    `fresh` volumes take the place of something with an owner that cannot be known here (`owners.give`).
    """

    volume: str
    path: str
    fresh: bool

    def in_agent(self) -> str:
        """The same directory as the agent sees it."""
        return posixpath.join(DATA_ROOT, self.volume, self.path).rstrip("/")


def keys_of(places: Mapping[str, Place | None], services: Mapping[str, Service]) -> list[str]:
    """The volumes that the agent has to see: those with data directories, and what programs alone write to.

    `places` has an entry, if need be None, for each program. What backing services hold goes on while programs come and
    go, so it is none of the agent's business.
    """
    held = {key for name, service in services.items() if name not in places for key in _written(service)}
    data = [place.volume for place in places.values() if place is not None]
    others = [key for name in places for key in _written(services[name]) if key not in held]
    return list(dict.fromkeys([*data, *others]))


def _written(service: Service) -> list[str]:
    mounted = [mount for mount in _mounts(service) if mount.get("type") == "volume" and not mount.get("read_only")]
    return [mount["source"] for mount in mounted if mount.get("source")]


def fresh_in(service: Service, fresh: Collection[str]) -> dict[str, str]:
    """Where a service has which of the volumes that take the place of something else."""
    return {m["source"]: m["target"] for m in _mounts(service) if m.get("type") == "volume" and m["source"] in fresh}


def for_agent(volumes: Iterable[str]) -> list[Mount]:
    """The mounts of the agent: data below /data, and the launcher's volume."""
    data = [_volume(key, posixpath.join(DATA_ROOT, key)) for key in volumes]
    return [*data, _volume(LAUNCHER_VOLUME, LAUNCHER_ROOT)]


def change(
    document: dict[str, Any],
    data_dirs: Mapping[str, tuple[str, bool]],
    missing: Collection[str],
    notes: list[str],
) -> tuple[dict[str, Place | None], set[str]]:
    """Put the data of a document's services on volumes of the run; where each program's data directory is then.

    Also the keys of the volumes that take the place of something else, and are empty.

    `data_dirs` has a program's directory and whether it is watched; `missing` the sources of bind mounts that hold
    nothing. Raises UsageError where a watched directory cannot be on a volume.
    """
    services: dict[str, Service] = document["services"]
    volumes: dict[str, Any] = document["volumes"]
    fresh = _replace_volumes(volumes, _used(services), notes)
    for name in data_dirs:
        _name_anonymous(name, services[name], volumes)
    _expand_volumes_from(services)
    kept: dict[str, tuple[str, str]] = {}
    for path, key, why in _kept_paths(services, data_dirs, missing):
        kept.setdefault(path, (key, why))
    for path, (key, why) in kept.items():
        volumes[key] = {}
        fresh.add(key)
        notes.append(why)
        _replace_bind(services, path, key)
    for name, service in services.items():
        _protect(name, service, volumes, notes)
    places = {
        name: _place(name, services[name], directory, watched, volumes, fresh)
        for name, (directory, watched) in data_dirs.items()
    }
    volumes[LAUNCHER_VOLUME] = {}
    return places, fresh


def _volume(key: str, target: str) -> Mount:
    return {"type": "volume", "source": key, "target": target}


def _mounts(service: Service) -> list[Mount]:
    found: list[Mount] = service.setdefault("volumes", [])
    return found


def _binds(service: Service) -> list[Mount]:
    return [mount for mount in _mounts(service) if mount.get("type") == "bind"]


def _used(services: Mapping[str, Service]) -> set[str]:
    return {str(m.get("source")) for s in services.values() for m in _mounts(s) if m.get("type") == "volume"}


# --- volumes ---


def _replace_volumes(volumes: dict[str, Any], used: Collection[str], notes: list[str]) -> set[str]:
    """Take the fixed name from each volume, and the user's data from below it; the ones that are empty now."""
    emptied = {key: why for key, volume in volumes.items() if (why := _not_ours(volume))}
    for key, volume in volumes.items():
        why = emptied.get(key, "")
        if why and key in used:
            notes.append(f"volume {key}: {why}; the run has an empty one of its own in its place")
        kept = {} if why else {field: value for field, value in volume.items() if field != "name"}
        volumes[key] = kept
    return set(emptied)


def _not_ours(volume: Mapping[str, Any]) -> str:
    """Why what is on this volume is not the run's; empty when it is."""
    device = str((volume.get("driver_opts") or {}).get("device") or "")
    if volume.get("external"):
        return "it is external"
    if volume.get("driver") not in (None, "", "local"):
        return f"its driver is {volume['driver']}"
    return f"it is {device}" if device not in ("", "tmpfs") else ""


def _name_anonymous(name: str, service: Service, volumes: dict[str, Any]) -> None:
    """An anonymous volume goes with its container, and each life of a program is a container of its own."""
    for number, mount in enumerate(_mounts(service)):
        if mount.get("type") == "volume" and not mount.get("source"):
            mount["source"] = f"chaoskit-volume-{name}-{number}"
            volumes[mount["source"]] = {}


def _expand_volumes_from(services: Mapping[str, Service]) -> None:
    for name, service in services.items():
        for entry in service.get("volumes_from") or ():
            other, _, mode = str(entry).partition(":")
            if other not in services:
                raise UsageError(f"service {name}: `volumes_from: {entry}` takes no part in the run: take it out")
            targets = {mount.get("target") for mount in _mounts(service)}
            for mount in _mounts(services[other]):
                if mount.get("target") not in targets and mount.get("source"):
                    _mounts(service).append({**mount, **({"read_only": True} if mode == "ro" else {})})


# --- bind mounts ---


def _kept_paths(
    services: Mapping[str, Service], data_dirs: Mapping[str, tuple[str, bool]], missing: Collection[str]
) -> Iterator[tuple[str, str, str]]:
    """Paths of the engine's host that a volume takes the place of: path, key of the volume, a note for the user."""
    for name, (directory, watched) in data_dirs.items():
        mount = _covering(services[name], directory)
        if mount is not None and mount.get("type") == "bind":
            path = posixpath.join(str(mount["source"]), _below(directory, mount["target"])).rstrip("/")
            if watched or (path == mount["source"] and not mount.get("read_only")):
                why = f"{name}: {directory} is {path} of yours, which stays as it is; the run has an empty volume there"
                yield path, f"chaoskit-data-{name}", why
    for name, service in services.items():
        for number, mount in enumerate(_binds(service)):
            source, target = str(mount["source"]), str(mount["target"])
            if source in missing:
                why = f"{name}: there is nothing in {source}; the run has a volume of its own at {target}"
                yield source, f"chaoskit-bind-{name}-{number}", why
            elif name not in data_dirs and not mount.get("read_only") and _keeps(service, target):
                why = f"{name}: {target} is {source} of yours, which stays as it is; the run has an empty volume there"
                yield source, f"chaoskit-bind-{name}-{number}", why


def _keeps(service: Service, target: str) -> bool:
    """Whether this is where an image that is not built here keeps its data: a directory, not one file in it."""
    is_kept = any(target == root or target.startswith(f"{root}/") for root in _KEEPING)
    return is_kept and not service.get("build") and "." not in posixpath.basename(target)


def _replace_bind(services: Mapping[str, Service], path: str, key: str) -> None:
    """Everybody who sees the path of the host sees the volume instead."""
    for name, service in services.items():
        for mount in _binds(service):
            source, target = str(mount["source"]).rstrip("/") or "/", str(mount["target"])
            access = {"read_only": True} if mount.get("read_only") else {}
            if source == path:
                mount.clear()
                mount.update({**_volume(key, target), **access})
            elif _is_below(path, source):
                _mounts(service).append({**_volume(key, posixpath.join(target, _below(path, source))), **access})
            elif _is_below(source, path):
                raise UsageError(
                    f"service {name}: the bind mount {source} is inside of {path}, which the run replaces by a volume: "
                    "mount one volume in both places (an override file in `compose.files` can do so)"
                )


def _protect(name: str, service: Service, volumes: Mapping[str, Any], notes: list[str]) -> None:
    for mount in _binds(service):
        source, target = mount["source"], mount["target"]
        if str(source).endswith(_ENGINE_SOCKET):
            notes.append(f"{name}: it has the engine's socket: what it does to other containers is not the run's")
        elif not mount.get("read_only"):
            notes.append(
                f"{name}: {target} is {source} of yours, so it is mounted read-only; for one that may be written, name "
                "it as the program's `data_dir`, or put a volume there in an override file"
            )
            mount["read_only"] = True


# --- the data directory of a program ---


def _place(
    name: str, service: Service, directory: str, watched: bool, volumes: dict[str, Any], fresh: set[str]
) -> Place | None:
    mount = _covering(service, directory)
    if _on_tmpfs(service, directory, mount):
        if not watched:
            return None
        raise UsageError(
            f"service {name}: its data directory {directory} is on a tmpfs, where nothing outlives a kill: "
            "put a volume there (an override file in `compose.files` can do so)"
        )
    if mount is not None and mount.get("type") == "volume":
        options = mount.get("volume") or {}
        path = posixpath.join(str(options.get("subpath") or ""), _below(directory, mount["target"])).rstrip("/")
        return Place(mount["source"], path, mount["source"] in fresh)
    if not watched:
        return None
    key = f"chaoskit-data-{name}"
    volumes[key] = {}
    fresh.add(key)
    _mounts(service).append(_volume(key, directory))
    return Place(key, "", True)


def _covering(service: Service, directory: str) -> Mount | None:
    """The innermost mount that the directory is on."""
    found = [mount for mount in _mounts(service) if _covers(str(mount.get("target")), directory)]
    return max(found, key=lambda mount: len(str(mount["target"]).rstrip("/")), default=None)


def _on_tmpfs(service: Service, directory: str, mount: Mount | None) -> bool:
    depth = len(str(mount["target"]).rstrip("/")) if mount else -1
    listed = [str(entry).partition(":")[0].rstrip("/") for entry in service.get("tmpfs") or ()]
    deeper = any(_covers(target, directory) and len(target) > depth for target in listed)
    return deeper or (mount is not None and mount.get("type") == "tmpfs")


def _covers(target: str, directory: str) -> bool:
    return target.rstrip("/") == directory.rstrip("/") or _is_below(directory, target)


def _is_below(path: str, folder: str) -> bool:
    return path.rstrip("/").startswith(f"{folder.rstrip('/')}/") and path.rstrip("/") != folder.rstrip("/")


def _below(path: str, folder: str) -> str:
    """`path` as seen from `folder`, which it is below; empty when it is the folder itself."""
    return path.rstrip("/")[len(folder.rstrip("/")) :].lstrip("/")
