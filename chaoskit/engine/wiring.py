"""The wiring: the one place that names concrete brokers, proxies, taps and runtimes."""

from pathlib import Path

from chaoskit import tap
from chaoskit.engine.connections import LocalConnections
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.starting import Starter, start_new
from chaoskit.engine.taps import Taps
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.local import LocalRuntime


def tap_unavailable() -> str | None:
    """Why system calls cannot be tapped on this machine, in one line; None when they can."""
    return tap.unavailable()


async def assemble_local(
    scenario: Scenario,
    run_dir: Path,
    pipeline: Pipeline,
    executor: Executor,
    starter: Starter = start_new,
    surveyed: bool = False,
    tapped: bool = True,
) -> None:
    """Give `pipeline` an embedded broker, proxies, taps on its targets (where `tapped`), and local processes.

    Raises EnvironmentProblem when this machine cannot provide them.
    """
    connections = LocalConnections(pipeline, executor)
    runtime = LocalRuntime(scenario, run_dir, pipeline)
    taps = Taps(
        pipeline,
        executor,
        broker=lambda program: ("127.0.0.1", connections.proxy_port(program)),
        root=runtime.data_dir,
        starter=starter,
        others_still=runtime.others_still,
        surveyed=surveyed,
        targets=_tapped(scenario, executor) if tapped and tap_unavailable() is None else (),
    )
    runtime.use(taps.spawn)
    pipeline.at_close = taps.close
    await connections.start()
    pipeline.attach(runtime, connections)


def _tapped(scenario: Scenario, executor: Executor) -> set[str]:
    """The scenario's targets, and whoever else a step hurts at a call."""
    return {*scenario.target, *(step.target for _, step in executor.call_steps())}
