"""Files that Compose puts into a container at its start, and not before: secrets and configs that are no file.

Programs are started by the run, from containers that Compose only creates, so the run has to put these there itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

_MODE = 0o444


class Injected(NamedTuple):
    """A file of a container: `content`, or what the environment variable `variable` holds; `mode` as in chmod."""

    target: str
    content: str | None
    variable: str | None
    uid: int
    gid: int
    mode: int


def files_of(service: Mapping[str, Any], document: Mapping[str, Any]) -> list[Injected]:
    """What a service's secrets and configs put into its container; those that are files are mounted by Compose."""
    found = []
    for kind, root in (("configs", "/"), ("secrets", "/run/secrets/")):
        for use in service.get(kind) or ():
            source = document[kind].get(use["source"]) or {}
            if source.get("content") is not None or source.get("environment"):
                found.append(_injected(use, source, root))
    return found


def _injected(use: Mapping[str, Any], source: Mapping[str, Any], root: str) -> Injected:
    target = str(use.get("target") or use["source"])
    path = target if target.startswith("/") else root + target
    variable = None if source.get("content") is not None else str(source["environment"])
    numbers = (_number(use.get("uid"), 0), _number(use.get("gid"), 0), _number(use.get("mode"), _MODE))
    return Injected(path, source.get("content"), variable, *numbers)


def _number(value: Any, default: int) -> int:
    """A number that a file may say as text; Compose prints modes as octal text."""
    if value is None or value == "":
        return default
    return int(value, 8) if isinstance(value, str) and value.startswith("0") and len(value) > 1 else int(value)
