"""Images that are built for a run get names of the run's own, so that no build of it takes the place of the user's."""

import re
from collections.abc import Mapping
from typing import Any

# These would write outside of the run: other names, a registry, a cache on disk.
_OUTSIDE = ("tags", "cache_to")


def rename(services: Mapping[str, dict[str, Any]], project: str, labels: Mapping[str, str]) -> list[str]:
    """Give each image that is built another name; services that only share it by its name follow. The new names."""
    renamed: dict[str, str] = {}
    taken: list[str] = []
    for name, service in services.items():
        build = service.get("build")
        if build is None:
            continue
        build = {"context": build} if isinstance(build, str) else build
        old = str(service.get("image") or "")
        new = renamed.get(_canonical(old)) or _new_name(project, name, taken)
        if old:
            renamed[_canonical(old)] = new
        kept = {field: value for field, value in build.items() if field not in _OUTSIDE}
        service["build"] = {**kept, "labels": {**(build.get("labels") or {}), **labels}}
        service["image"], service["pull_policy"] = new, "build"
        taken += [new] if new not in taken else []
    for service in services.values():
        if service.get("build") is None and _canonical(str(service.get("image") or "")) in renamed:
            service["image"] = renamed[_canonical(str(service["image"]))]
            service["pull_policy"] = "never"
    return taken


def _canonical(image: str) -> str:
    """An image's name with the tag that it has when it says none."""
    return image if not image or ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _new_name(project: str, service: str, taken: list[str]) -> str:
    # What may stand in an image's name is less than what may stand in a service's.
    base = f"{project}-{re.sub(r'[^a-z0-9]+', '-', service.lower()).strip('-')}"
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
