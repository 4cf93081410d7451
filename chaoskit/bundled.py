"""Finds what travels with chaoskit: the scenarios, from a checkout or from an installed wheel, from any directory."""

import os
from pathlib import Path

from chaoskit.model import scenario as scenarios
from chaoskit.model.errors import UsageError
from chaoskit.model.scenario import Scenario

FILE_NAME = "scenario.yaml"


def scenarios_dir() -> Path:
    """The folder that holds one folder a bundled scenario."""
    package = Path(__file__).resolve().parent
    installed = package / "_bundled" / "scenarios"
    return installed if installed.is_dir() else package.parent / "scenarios"


def names() -> list[str]:
    """The bundled scenarios, sorted."""
    return sorted(path.parent.name for path in scenarios_dir().glob(f"*/{FILE_NAME}"))


def find(name_or_path: str) -> Scenario:
    """The scenario of a bundled name, or of the path of a scenario.yaml or of its folder. Raises UsageError."""
    if name_or_path in names():
        return scenarios.load(scenarios_dir() / name_or_path / FILE_NAME)
    # os.path answers False also for what can be no path at all, such as a name that is too long.
    path = Path(name_or_path, FILE_NAME) if os.path.isdir(name_or_path) else Path(name_or_path)
    if os.path.isfile(path):
        return scenarios.load(path)
    bundled = ", ".join(names())
    raise UsageError(f"there is no scenario {name_or_path!r}: give the path of a scenario.yaml, or one of: {bundled}")
