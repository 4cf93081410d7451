"""The local backend: processes of this machine, an embedded broker and proxies, taps. Nothing of it outlives a run."""

from pathlib import Path

from chaoskit import tap
from chaoskit.agent.volumes import digest
from chaoskit.engine.backends import RuntimeName, Stage, tapped_programs
from chaoskit.engine.brokerless import NoConnections
from chaoskit.engine.connections import LocalConnections
from chaoskit.engine.executor import Executor
from chaoskit.engine.given_connections import GivenConnections
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.taps import Taps
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.local import LocalRuntime


def _connections(scenario: Scenario, pipeline: Pipeline, executor: Executor) -> LocalConnections | None:
    if scenario.given_broker is not None:
        return GivenConnections(pipeline, executor, scenario.given_broker)
    return LocalConnections(pipeline, executor) if scenario.broker else None


class LocalBackend:
    """Runs of any scenario whose programs have commands."""

    name: RuntimeName = "local"

    async def open(self) -> None:
        """There is nothing to bring up."""

    def tap_unavailable(self) -> str | None:
        return tap.unavailable()

    async def assemble(self, stage: Stage) -> None:
        pipeline, executor, scenario = stage.pipeline, stage.executor, stage.scenario
        connections = _connections(scenario, pipeline, executor)
        runtime = LocalRuntime(scenario, stage.run_dir, pipeline)
        tapped = stage.tapped and self.tap_unavailable() is None
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

    def digest(self, run_dir: Path) -> str:
        return digest(run_dir / "data")

    async def fetch(self, stage: Stage) -> None:
        """They are there already."""

    async def settle(self, stage: Stage, keep_data: bool) -> None:
        """The data is where it is kept, and the processes ended with the pipeline."""

    async def close(self) -> None:
        """There is nothing left."""
