"""A kill that finds a program at its own end was no kill: nothing is started again, and the fault did not fire."""

import asyncio

import pytest

from chaoskit.checks import faults
from chaoskit.engine.brokerless import NoConnections
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Pipeline
from chaoskit.faults import TABLE
from chaoskit.model.events import AnyEvent, LogLine, ProgramExited
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtLog

from .test_pipeline_restarts import _Containers

PLAN = Plan(0, (Step("kill", "worker", AtLog("all sent")),))


def events_when_killed_at_its_last_line(code: int) -> tuple[list[AnyEvent], list[int]]:
    """What is journaled, and the lives that begin, when the program's life ends with `code` after the signal."""
    events: list[AnyEvent] = []

    async def work() -> list[int]:
        programs = {"worker": Program()}
        scenario = Scenario("one", programs, ("worker",), Verifier("worker", expect=("A",)), broker=False)
        pipeline, containers = Pipeline(scenario, events.append), _Containers(always=False)
        pipeline.attach(containers, NoConnections())
        executor = Executor(pipeline, PLAN, TABLE)
        pipeline.begin("worker")
        pipeline.program_line("worker", 0, "all sent")
        (line,) = [event for event in events if isinstance(event, LogLine)]
        executor.on_event(line)
        pipeline.program_exited("worker", 0, code)
        await pipeline.wait_for(lambda: len(containers.lives) > 1, 0.3)
        await pipeline.close(0.0)
        return containers.lives

    return events, asyncio.run(work())


@pytest.mark.parametrize("code", [-9, 137])
def test_a_kill_that_was_in_time_is_one(code: int) -> None:
    events, lives = events_when_killed_at_its_last_line(code)
    assert lives == [0, 1]
    assert [record.fired for record in faults.records(events, PLAN)] == [True]


def test_a_program_that_had_just_ended_is_not_started_again_and_its_kill_did_not_fire() -> None:
    events, lives = events_when_killed_at_its_last_line(0)
    assert lives == [0]
    assert [event.hurt for event in events if isinstance(event, ProgramExited)] == [False]
    (finding,) = faults.unfired(events, PLAN)
    assert finding.code is ExitCode.INCONCLUSIVE
    assert "worker had just ended by itself with code 0" in finding.text


def test_a_crash_just_before_the_kill_is_a_crash() -> None:
    events, lives = events_when_killed_at_its_last_line(1)
    assert lives == [0, 1]
    assert [event.hurt for event in events if isinstance(event, ProgramExited)] == [False]
    assert not faults.records(events, PLAN)[0].fired
