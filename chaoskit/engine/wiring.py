"""The wiring: the one place that names concrete brokers, proxies, taps and runtimes."""

from collections.abc import Callable

from chaoskit import tap
from chaoskit.engine.backends import Backend, RuntimeName, Stage, tapped_programs
from chaoskit.engine.brokerless import NoConnections
from chaoskit.engine.connections import LocalConnections
from chaoskit.engine.taps import Taps
from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.local import LocalRuntime
from chaoskit.tap.native import launcher


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


def backend(runtime: RuntimeName, scenario: Scenario, on_progress: Callable[[str], None]) -> Backend:
    """The backend of a runtime for runs of one scenario; `on_progress` hears what takes time before the first run."""
    if runtime == "local":
        return LocalBackend()
    from chaoskit.engine.composed import ComposeBackend

    return ComposeBackend(scenario, launcher, on_progress)


class LocalBackend:
    """Processes of this machine, an embedded broker and proxies, taps: nothing of it outlives a run."""

    name: RuntimeName = "local"

    async def open(self) -> None:
        """There is nothing to bring up."""

    def tap_unavailable(self) -> str | None:
        return tap_unavailable()

    async def assemble(self, stage: Stage) -> None:
        pipeline, executor, scenario = stage.pipeline, stage.executor, stage.scenario
        connections = LocalConnections(pipeline, executor) if scenario.broker else None
        runtime = LocalRuntime(scenario, stage.run_dir, pipeline)
        tapped = stage.tapped and tap_unavailable() is None
        taps = Taps(
            pipeline,
            executor,
            broker=lambda program: ("127.0.0.1", connections.proxy_port(program)) if connections else None,
            root=runtime.data_dir,
            starter=stage.starter,
            others_still=runtime.others_still,
            surveyed=stage.surveyed,
            targets=tapped_programs(scenario, executor) if tapped else (),
        )
        runtime.use(taps.spawn)
        pipeline.at_close = taps.close
        if connections is not None:
            await connections.start()
        pipeline.attach(runtime, connections or NoConnections())

    async def settle(self, stage: Stage, keep_data: bool) -> None:
        """The data is where it is kept, and the processes ended with the pipeline."""

    async def close(self) -> None:
        """There is nothing left."""
