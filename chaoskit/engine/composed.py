"""The Compose backend: one project that is up for all runs of a command, assembled anew for each of them."""

from collections.abc import Callable
from pathlib import Path

from chaoskit.engine.backends import RuntimeName, Stage, tapped_programs
from chaoskit.engine.brokerless import NoConnections
from chaoskit.engine.judging_here import JudgingHere
from chaoskit.engine.remote import RemoteConnections, RemoteTaps, message_steps
from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.base import Runtime
from chaoskit.runtime.compose.breaking import Breaking
from chaoskit.runtime.compose.link import Event
from chaoskit.runtime.compose.runtime import ComposeRuntime
from chaoskit.runtime.compose.stack import Launcher, Stack


class ComposeBackend:
    """Runs of `scenario` as containers. `on_progress` hears lines while images are pulled and built."""

    name: RuntimeName = "compose"

    def __init__(self, scenario: Scenario, launcher: Launcher, on_progress: Callable[[str, bool], None]) -> None:
        self._stack = Stack(scenario, launcher, on_progress)
        self._on_progress = on_progress
        self._runtime: ComposeRuntime | None = None
        self._taps: RemoteTaps | None = None
        self._broken = ""

    async def open(self) -> None:
        await self._stack.open()
        for note in self._stack.notes:
            self._on_progress(note, False)

    def tap_unavailable(self) -> str | None:
        return self._stack.link.hello.get("tap") or None

    async def assemble(self, stage: Stage) -> None:
        pipeline, executor, link = stage.pipeline, stage.executor, self._stack.link
        places = {name: place for name in pipeline.members if (place := self._stack.place(name)) is not None}
        tapped = stage.tapped and self.tap_unavailable() is None
        targets = tapped_programs(stage.scenario, executor) if tapped else set()
        for program in sorted(targets - places.keys()):
            raise UsageError(
                f"{program}: {stage.scenario.programs[program].data_dir} is on no volume, so its calls cannot be seen: "
                "name it as a `target`, or put the directory on a volume"
            )
        taps = RemoteTaps(pipeline, executor, link, places, targets)
        breaking = Breaking(self._stack, lambda program: runtime.container_of(program))
        connections = RemoteConnections(pipeline, executor, link, breaking)

        def hear(event: Event) -> None:
            if event["event"] == "tap":
                taps.hear(event)
            elif event["event"] == "arrived":
                runtime.began(event["program"], event["life"])
            else:
                connections.hear(event)

        runtime = ComposeRuntime(self._stack, stage.scenario, stage.run_dir, pipeline, taps, pipeline.lost)
        self._runtime, self._taps = runtime, taps
        early: list[Event] = []
        self._detach(early)
        await self._stack.mend_broker()
        await link.set_clock()
        await link.ask(
            "begin",
            volumes=self._stack.volumes,
            steps=message_steps(executor),
            surveyed=stage.surveyed,
            powered=taps.powered,
        )
        if self._broken:
            raise EnvironmentProblem(f"the agent: {self._broken}")
        self._stack.lost, link.on_event = pipeline.lost, hear
        # Programs that are being stopped still send, and nothing must be hurt that the next run needs.
        executor.at_stop = lambda: link.tell("cancel")
        pipeline.attach(self._with_judge(stage, runtime), connections if self._stack.has_broker else NoConnections())
        for event in early:
            hear(event)

    def _detach(self, early: list[Event] | None = None) -> None:
        """What happens between two runs (a service that is no program goes on talking to the broker) is no run's.

        What comes behind the beginning of the next one is kept in `early`.
        """

        def hear_nothing(event: Event) -> None:
            if event["event"] == "broken":
                self._broken = event["reason"]
            elif event["event"] == "begun" and early is not None:
                self._stack.link.on_event = early.append

        self._stack.lost = lambda what, reason: None
        self._stack.link.on_event = hear_nothing

    def _with_judge(self, stage: Stage, runtime: ComposeRuntime) -> Runtime:
        """The runtime, with the command that judges beside it where the scenario has one."""
        if stage.scenario.verifier.last is None:
            return runtime
        lost = stage.pipeline.lost
        return JudgingHere(runtime, stage.scenario, stage.run_dir, stage.pipeline, lambda: self.fetch(stage), lost)

    def digest(self, run_dir: Path) -> str:
        return self._taps.digest if self._taps else ""

    async def settle(self, stage: Stage, keep_data: bool) -> None:
        self._detach()
        if self._runtime is None:
            return
        try:
            if keep_data:
                await self.fetch(stage)
                if self._taps is not None:
                    self._taps.came_home(stage.run_dir / "data")
        finally:
            runtime, self._runtime = self._runtime, None
            await runtime.remove()

    async def fetch(self, stage: Stage) -> None:
        """Copy the data directories as they are now into the run's directory. Raises EnvironmentProblem."""
        # What the agent was told to do to the files before, a power loss say, is done when it answers.
        await self._stack.link.ask("quiet")
        found = ((stage.scenario.data_name(name), self._stack.place(name)) for name in stage.pipeline.members)
        # The command that judges shares the name of a directory, and has no place of its own.
        places = {name: place for name, place in found if place is not None}
        for name, place in places.items():
            await self._stack.fetch(place.in_agent(), stage.run_dir / "data" / name)

    async def close(self) -> None:
        await self._stack.close()
