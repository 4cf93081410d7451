"""The wiring: the one place that names the concrete backends, and chooses one for a scenario."""

import os
from collections.abc import Callable
from pathlib import Path

from chaoskit import tap
from chaoskit.engine.backends import Backend, RuntimeName
from chaoskit.engine.labs import Labs
from chaoskit.engine.locally import LocalBackend
from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.model.scenario import Scenario
from chaoskit.tap.native import launcher

_MOST_BROKERS = 8


def tap_unavailable() -> str | None:
    """Why system calls cannot be tapped on this machine, in one line; None when they can."""
    return tap.unavailable()


def runtime_for(scenario: Scenario, wanted: str) -> tuple[RuntimeName, str]:
    """The runtime that `wanted` (local, compose, auto, or '' for the default) means, and why, where that is a choice.

    The default is local wherever every program has a command. Raises UsageError and EnvironmentProblem.
    """
    if wanted not in ("", "auto", "local", "compose"):
        raise UsageError(f"--runtime {wanted}: there are auto, local and compose")
    can_local = all(program.command for program in scenario.programs.values())
    if wanted == "local" or (wanted == "" and can_local):
        return "local", ""
    if scenario.compose is None:
        if wanted == "compose":
            raise UsageError(f"{scenario.name} names no Compose file (`compose:` in its scenario.yaml)")
        return "local", "it names no Compose file"
    problem = compose_unavailable()
    if problem is None:
        return "compose", "an engine with Compose answers" if wanted == "auto" else ""
    if wanted == "auto" and can_local:
        return "local", problem
    raise EnvironmentProblem(problem)


def compose_unavailable() -> str | None:
    """Why programs cannot run as containers here, in one line; None when they can."""
    # The Docker SDK takes a while to import, and most commands do without it.
    from chaoskit.runtime.compose import engine

    return engine.unavailable()


def backend(runtime: RuntimeName, scenario: Scenario, on_progress: Callable[[str, bool], None]) -> Backend:
    """The backend of a runtime for runs of one scenario; `on_progress` hears what takes time before the first run."""
    if runtime == "local":
        return LocalBackend()
    from chaoskit.engine.composed import ComposeBackend

    return ComposeBackend(scenario, launcher, on_progress)


def default_jobs(runtime: RuntimeName) -> int:
    """How many experiments at a time: one a core; with containers, which mostly wait for the engine, two a core.

    Each of those has a broker of its own, and these have a limit.
    """
    cores = os.cpu_count() or 1
    return cores if runtime == "local" else min(2 * cores, max(cores, _MOST_BROKERS))


def laboratories(
    runtime: RuntimeName, scenario: Scenario, jobs: int, directory: Path, on_progress: Callable[[str, bool], None]
) -> Labs:
    """Where the experiments of an exploration in `directory` are made, `jobs` at a time."""
    if runtime == "local":
        from chaoskit.engine.laboratories import Laboratories

        return Laboratories(jobs, directory)
    from chaoskit.engine.composed_labs import ComposeLaboratories

    return ComposeLaboratories(jobs, lambda: backend(runtime, scenario, on_progress))
