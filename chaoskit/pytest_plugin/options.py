"""What a test asks for, and the words of the command line that stand for it.

The command line checks values and says what is wrong with them; here only names are checked.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from chaoskit.model.scenario import Scalar

# A file, or the steps themselves as they stand in one.
PlanLike = Path | str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


class RunOptions(TypedDict, total=False):
    """Options of a run with faults; times in seconds. Without `plan` the faults are drawn from `seed`."""

    kills: int
    duplicates: int
    plan: PlanLike
    seed: int
    parameters: Mapping[str, Scalar]
    timeout_s: float
    runtime: str
    control: bool
    arguments: Sequence[str]


class ExploreOptions(TypedDict, total=False):
    """Options of an exploration; times in seconds."""

    faults: Sequence[str]
    depth: int
    duplicates: bool
    only: str
    jobs: int
    max_failures: int
    budget_s: float
    parameters: Mapping[str, Scalar]
    runtime: str
    arguments: Sequence[str]


NAMES = frozenset(RunOptions.__annotations__) | frozenset(ExploreOptions.__annotations__)
_FLAGS = {
    "kills": "--kills",
    "plan": "--plan",
    "seed": "--seed",
    "timeout_s": "--timeout",
    "runtime": "--runtime",
    "depth": "--depth",
    "only": "--only",
    "jobs": "--jobs",
    "max_failures": "--max-failures",
    "budget_s": "--budget",
}


def run_arguments(options: RunOptions) -> list[str]:
    """The options of `chaoskit run`. `plan` is the path of a file by now."""
    control = [] if options.get("control", True) else ["--no-control"]
    duplicates = [f"--duplicates={options['duplicates']}"] if "duplicates" in options else []
    return [*_flags(options), *duplicates, *control, *_settings(options), *options.get("arguments", ())]


def explore_arguments(options: ExploreOptions) -> list[str]:
    """The options of `chaoskit explore`."""
    faults = [f"--faults={','.join(options['faults'])}"] if "faults" in options else []
    duplicates = ["--duplicates"] if options.get("duplicates") else []
    return [*_flags(options), *faults, *duplicates, *_settings(options), *options.get("arguments", ())]


def _flags(options: Mapping[str, Any]) -> list[str]:
    return [f"{_FLAGS[name]}={value}" for name, value in options.items() if name in _FLAGS]


def _settings(options: Mapping[str, Any]) -> Iterable[str]:
    parameters: Mapping[str, Scalar] = options.get("parameters", {})
    return [f"--set={name}={_as_text(value)}" for name, value in parameters.items()]


def _as_text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
