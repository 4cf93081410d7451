"""The laboratories of containers, with projects that take no time: which one is brought up, used again, given up."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from chaoskit.engine.backends import Stage
from chaoskit.engine.composed_labs import ComposeLaboratories
from chaoskit.engine.conduct import Limits
from chaoskit.engine.lab import Task
from chaoskit.engine.locally import LocalBackend
from chaoskit.engine.once import Setup
from chaoskit.engine.rundir import RunDir
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan
from chaoskit.model.scenario import Program, Scenario, Verifier

SCENARIO = Scenario(
    "quick",
    programs={"worker": Program(command=("true",))},
    target=("worker",),
    verifier=Verifier("worker", success="(?P<id>OK)", failure="(?P<id>LOST)", expect=("OK",)),
    broker=False,
)


class _Project(LocalBackend):
    """One project; with `broken` no run can be assembled in it, as when its agent has gone."""

    def __init__(self, events: list[str], number: int, broken: bool = False, stuck: bool = False) -> None:
        self._events, self._number, self._broken, self._stuck = events, number, broken, stuck

    async def open(self) -> None:
        self._events.append(f"open {self._number}")

    async def assemble(self, stage: Stage) -> None:
        self._events.append(f"run in {self._number}")
        raise EnvironmentProblem("the agent is gone" if self._broken else "there are no containers in this test")

    async def close(self) -> None:
        if self._stuck:
            raise EnvironmentProblem(f"project {self._number} cannot be removed")
        await asyncio.to_thread(self._events.append, f"close {self._number}")


def _setup(folder: Path) -> Setup:
    return Setup(SCENARIO, Plan(0), RunDir(folder), control=True)


def test_a_second_control_run_takes_the_project_that_is_up(tmp_path: Path) -> None:
    events: list[str] = []

    async def work() -> None:
        labs = ComposeLaboratories(2, lambda: _Project(events, 1 + sum(e.startswith("open") for e in events)))
        await labs.open()
        for name in ("first", "second"):
            await labs.control(_setup(tmp_path / name))
        await labs.close()

    asyncio.run(work())
    assert events == ["open 1", "run in 1", "run in 1", "close 1"]


def test_a_project_in_which_an_experiment_could_not_be_made_is_given_up(tmp_path: Path) -> None:
    events: list[str] = []

    async def work() -> None:
        made = iter((_Project(events, 1, broken=True), _Project(events, 2)))
        labs = ComposeLaboratories(1, lambda: next(made))
        await labs.open()
        for name in ("first", "second"):
            task = Task(SCENARIO, Plan(0), str(tmp_path / name), Limits(5.0))
            outcome = await labs.make(task)
            assert outcome.code is ExitCode.ENVIRONMENT
        await labs.close()

    asyncio.run(work())
    assert events == ["open 1", "run in 1", "close 1", "open 2", "run in 2", "close 2"]


class _Working(_Project):
    """One in which the programs run, as local ones."""

    async def assemble(self, stage: Stage) -> None:
        self._events.append(f"run in {self._number}")
        await LocalBackend.assemble(self, stage)


def test_another_project_is_brought_up_when_there_were_enough_experiments_for_it(tmp_path: Path) -> None:
    events: list[str] = []
    printing = msgspec.structs.replace(SCENARIO, programs={"worker": Program(command=("echo", "OK"))})

    async def work() -> None:
        labs = ComposeLaboratories(2, lambda: _Working(events, 1 + sum(e.startswith("open") for e in events)), worth=3)
        await labs.open()
        tasks = [Task(printing, Plan(0), str(tmp_path / str(number)), Limits(5.0)) for number in range(6)]
        outcomes = await asyncio.gather(*(labs.make(task) for task in tasks))
        assert [outcome.code for outcome in outcomes] == [ExitCode.OK] * 6
        await labs.close()

    asyncio.run(work())
    before = events[: events.index("open 2")]
    assert before.count("run in 1") in (3, 4), events
    assert events.count("run in 1") + events.count("run in 2") == 6


def test_every_project_is_taken_down_also_when_one_cannot_be() -> None:
    events: list[str] = []

    async def work() -> None:
        made = iter((_Project(events, 1, stuck=True), _Project(events, 2)))
        labs = ComposeLaboratories(2, lambda: next(made), worth=0)
        await labs.open()
        await labs._take()
        await labs._take()
        with pytest.raises(EnvironmentProblem, match="project 1 cannot be removed"):
            await labs.close()

    asyncio.run(work())
    assert events == ["open 1", "open 2", "close 2"]
