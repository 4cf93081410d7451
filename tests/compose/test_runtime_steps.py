"""Every kind of step on Compose: one project stays up, each test is a run of its own in it, as in an exploration."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaoskit import bundled
from chaoskit.checks import judge
from chaoskit.engine import run as engine
from chaoskit.engine import wiring
from chaoskit.engine.backends import Backend
from chaoskit.engine.conduct import Limits
from chaoskit.engine.once import Setup, run_once
from chaoskit.engine.rundir import RunDir
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, Call, FaultFired, LogLine, Message, ProgramExited, ProgramStarted, RunEnded
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.scenario import Scenario

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("engine")]


@dataclass(frozen=True)
class Made:
    """A run that is over."""

    events: list[AnyEvent]
    directory: Path

    @property
    def code(self) -> ExitCode:
        return judge(self.events).code

    @property
    def fired(self) -> list[FaultFired]:
        return [event for event in self.events if isinstance(event, FaultFired)]

    def exits(self, program: str) -> list[int]:
        """How the lives of a program ended that ended before the run did."""
        found = (event for event in self.events if isinstance(event, ProgramExited) and not event.stopping)
        return [event.code for event in found if event.program == program]

    def lives(self, program: str) -> int:
        return sum(isinstance(event, ProgramStarted) and event.program == program for event in self.events)

    def messages(self, kind: str, queue: str) -> list[Message]:
        found = (event for event in self.events if isinstance(event, Message))
        return [event for event in found if (event.kind, event.queue) == (kind, queue)]

    def printed(self, text: str) -> list[LogLine]:
        return [event for event in self.events if isinstance(event, LogLine) and text in event.text]


@dataclass(frozen=True)
class Warm:
    """A project that is up. Called with steps it makes a run."""

    runner: asyncio.Runner
    backend: Backend
    scenario: Scenario
    folder: Path

    def __call__(self, *steps: dict[str, Any]) -> Made:
        directory = self.folder / str(sum(1 for _ in self.folder.iterdir()))
        directory.mkdir()
        file = directory / "plan.yaml"
        file.write_text(yaml.safe_dump({"seed": 0, "steps": list(steps)}))
        plan = engine.load_plan(file, self.scenario)
        limits = Limits(timeout_s=40, grace_s=0)
        events = self.runner.run(
            run_once(Setup(self.scenario, plan, RunDir(directory), limits=limits, backend=self.backend))
        )
        assert isinstance(events[-1], RunEnded)
        return Made(events, directory)


@pytest.fixture(scope="module")
def run(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Makes runs of the stateful scenario in a project of which nothing is left in the end."""
    scenario = bundled.find("stateful")
    with asyncio.Runner() as runner:
        backend = wiring.backend("compose", scenario, lambda text, passing: None)
        runner.run(backend.open())
        try:
            yield Warm(runner, backend, scenario, tmp_path_factory.mktemp("runs"))
        finally:
            runner.run(backend.close())


def survived(made: Made, faults: int = 1) -> None:
    """Every fault fired, and both clients got their sum."""
    assert made.code is ExitCode.OK, made.events
    assert len(made.fired) == faults


def test_a_power_loss_takes_what_no_fsync_made_durable(run: Warm) -> None:
    step = {"power-loss": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 3, "when": "after"}}
    made = run(step)
    survived(made)
    assert made.exits("worker-2") == [-9]
    # The third row had been written, and was gone when the next life looked.
    assert made.printed("Rebuilt state for client CLI1 (2 unique rows)")


@pytest.mark.parametrize("byte", [1, 9])
def test_a_kill_inside_a_write_leaves_the_bytes_that_were_written(run: Warm, byte: int) -> None:
    made = run({"kill": "worker-2", "at": {"write": "metadata/CLI2.csv", "nth": 2, "byte": byte}})
    survived(made)
    assert (made.fired[0].point, made.fired[0].written_bytes) == (f"worker-2/0/write:metadata/CLI2.csv#2@{byte}", byte)


def test_a_full_disk_and_a_short_write_are_what_the_program_is_told(run: Warm) -> None:
    made = run(
        {"enospc": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 2}},
        {"short-write": "worker-2", "at": {"write": "metadata/CLI2.csv", "nth": 2, "byte": 3}},
    )
    survived(made, 2)
    assert [fault.point for fault in made.fired] == [
        "worker-2/0/write:metadata/CLI1.csv#2",
        "worker-2/0/write:metadata/CLI2.csv#2@3",
    ]


def test_a_program_is_paused_and_goes_on(run: Warm) -> None:
    # The third message is held until the engine must have frozen the container, and comes while it stands still.
    made = run(
        {"pause": "worker-2", "at": {"log": "Processing chunk 1 for client CLI2"}, "for_s": 2.0},
        {"delay": "queue-1-2", "at": {"message": 3}, "for_s": 1.2},
    )
    survived(made, 2)
    paused_s = next(fault.t_s for fault in made.fired if fault.step == 0)
    called_s = [event.t_s for event in made.events if isinstance(event, Call)]
    assert [t_s for t_s in called_s if paused_s + 1.2 < t_s < paused_s + 1.95] == []
    assert any(paused_s + 0.9 < message.t_s < paused_s + 1.9 for message in made.messages("delivered", "queue-1-2"))
    assert max(called_s) > paused_s + 1.95
    assert made.lives("worker-2") == 1


def test_a_call_of_a_program_whose_data_is_on_no_volume_is_refused(run: Warm) -> None:
    with pytest.raises(UsageError, match="worker-3: /app/worker-data is on no volume, so its calls cannot be seen"):
        run({"kill": "worker-3", "at": {"write": "*"}})
    survived(run({"kill": "worker-2", "at": {"delivered": "queue-1-2", "nth": 2}}))


def test_two_pauses_that_overlap_are_one(run: Warm) -> None:
    here = {"log": "Processing chunk 1 for client CLI2"}
    made = run({"pause": "worker-2", "at": here, "for_s": 0.6}, {"pause": "worker-2", "at": here, "for_s": 0.9})
    survived(made, 2)
    assert made.lives("worker-2") == 1


def test_a_program_is_stopped_by_sigterm_and_started_again(run: Warm) -> None:
    made = run({"stop": "worker-2", "at": {"delivered": "queue-1-2", "nth": 3}})
    survived(made)
    assert made.lives("worker-2") == 2
    assert made.exits("worker-2")[0] in (-15, 0, 143)


def test_a_cut_connection_is_made_again(run: Warm) -> None:
    made = run({"cut": "worker-2", "at": {"delivered": "queue-1-2", "nth": 3}})
    survived(made)
    assert made.lives("worker-2") == 1
    assert len(made.printed("Waiting for chunks in queue-1-2")) == 2
    # While the message was held: the program never saw it.
    [seen] = [message for message in made.messages("delivered", "queue-1-2") if message.nth == 3]
    again = [message.id for message in made.messages("delivered", "queue-1-2") if message.redelivered]
    assert seen.id in again


def test_a_message_is_held_and_another_one_sent_twice(run: Warm) -> None:
    made = run(
        {"delay": "queue-2-3", "at": {"message": 1}, "for_s": 0.5},
        {"duplicate": "queue-1-2", "at": {"message": 2}, "copies": 2},
    )
    survived(made, 2)
    held = next(fault for fault in made.fired if fault.step == 0)
    arrived = made.messages("delivered", "queue-2-3")[0]
    assert arrived.t_s >= held.t_s + 0.45
    assert sum(message.injected for message in made.messages("published", "queue-1-2")) == 2


def test_a_late_copy_comes_when_all_else_was_handled(run: Warm) -> None:
    made = run({"duplicate": "queue-1-2", "at": {"message": 1}, "late": True})
    survived(made)
    copies = [message for message in made.messages("published", "queue-1-2") if message.injected]
    verdicts = made.printed("SUCCESS [")
    assert len(copies) == 1
    assert copies[0].t_s > max(line.t_s for line in verdicts)


def test_a_kill_at_a_message_finds_it_delivered_and_not_acknowledged(run: Warm) -> None:
    made = run({"kill": "worker-2", "at": {"delivered": "queue-1-2", "nth": 4}})
    survived(made)
    assert made.fired[0].point == "worker-2/delivered:queue-1-2#4"
    # While the message was held: the program never saw it, so the broker had to give it again.
    died_s = next(event.t_s for event in made.events if isinstance(event, ProgramExited))
    assert any(message.redelivered for message in made.messages("delivered", "queue-1-2") if message.t_s > died_s)
    assert made.exits("worker-2")[0] == -9


def test_a_kill_at_a_line_ends_that_life(run: Warm) -> None:
    made = run({"kill": "worker-2", "at": {"log": "Processing chunk 2 for client CLI2"}})
    survived(made)
    assert made.fired[0].point == "worker-2/0/log:Worker 2: Processing chunk 2 for client CLI2"
    assert made.lives("worker-2") == 2


def test_a_program_that_is_not_to_be_started_again_stays_dead(run: Warm) -> None:
    made = run({"kill": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 2}, "restart": False})
    assert made.code is ExitCode.FAILURE
    assert len(made.fired) == 1
    assert (made.lives("worker-2"), made.printed("SUCCESS [")) == (1, [])


def test_the_next_run_knows_nothing_of_the_last_one(run: Warm) -> None:
    run({"kill": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 2}, "restart": False})
    made = run()
    assert made.code is ExitCode.OK
    assert made.printed("Rebuilt state") == []
    assert not any(message.redelivered for message in made.messages("delivered", "queue-1-2"))
    assert len(made.messages("delivered", "queue-1-2")) == 6
