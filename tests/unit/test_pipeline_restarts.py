"""Who starts a program again that ended well: nobody, but an engine whose restart policy says so."""

import asyncio
from collections.abc import Mapping

import pytest

from chaoskit.engine.brokerless import NoConnections
from chaoskit.engine.pipeline import Pipeline
from chaoskit.model.scenario import Program, Scenario, Verifier

_DEADLINE_S = 10.0


class _Containers:
    """Programs that end when a test says so, all of them with the same restart policy."""

    name = "containers"

    def __init__(self, always: bool) -> None:
        self.always = always
        self.lives: list[int] = []

    def start(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        self.lives.append(life)

    def running(self, program: str) -> bool:
        return True

    def starts_again(self, program: str) -> bool:
        return self.always

    def kill(self, program: str, for_good: bool = False) -> None:
        """Nothing runs."""

    terminate = pause = resume = kill

    async def close(self, grace_s: float) -> None:
        """Nothing runs."""


@pytest.mark.parametrize(("always", "lives"), [(True, [0, 1]), (False, [0])])
def test_a_program_that_ended_well_gets_another_life_where_the_engine_gives_it_one(
    always: bool, lives: list[int]
) -> None:
    async def work() -> None:
        verifier = Verifier("worker", expect=("A",))
        programs = {"worker": Program()}
        scenario = Scenario("one", programs, ("worker",), verifier, broker=False, restart="engine")
        pipeline, containers = Pipeline(scenario, lambda event: None), _Containers(always)
        pipeline.attach(containers, NoConnections())
        pipeline.begin("worker")
        pipeline.program_exited("worker", 0, 0)
        assert await pipeline.wait_for(lambda: containers.lives == lives, _DEADLINE_S)
        assert pipeline.members["worker"].ended is not always
        await pipeline.close(0.0)

    asyncio.run(work())
