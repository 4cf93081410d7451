"""`kill` and `restart` by hand of a program between two lives, the next of which its engine would begin."""

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaoskit.engine.brokerless import NoConnections
from chaoskit.engine.by_hand import Session
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, EnvironmentLost, ProgramStarted
from chaoskit.model.scenario import Program, Restart, Scenario, Verifier
from chaoskit.runtime.compose.lives import GivenUp, Life, Log


class _Containers:
    """An engine that begins first lives and those after `keep_down`, and takes its time with all others."""

    name = "containers"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._after_engine = False
        self.kept_down = 0
        self.alive = self.waits = False

    def start(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        self.waits, self.alive = self._after_engine, not self._after_engine
        self._after_engine = True
        if self.alive:
            self._session.pipeline.program_started(program, life, 0)

    def dies(self, life: int) -> None:
        self.alive = False
        self._session.pipeline.program_exited("worker", life, 3)

    def running(self, program: str) -> bool:
        return self.alive or self.waits

    def starts_again(self, program: str) -> bool:
        return True

    def kill(self, program: str, for_good: bool = False) -> None:
        raise AssertionError("there is no life to be killed")

    terminate = kill

    async def keep_down(self, program: str) -> None:
        self.kept_down += 1
        self.waits = self._after_engine = False

    def pause(self, program: str) -> None:
        """Nothing is paused."""

    resume = pause

    async def close(self, grace_s: float) -> None:
        """Nothing runs."""


class _Up:
    """A session of one program, which is up in its first life."""

    def __init__(self, restart: Restart = "engine") -> None:
        verifier = Verifier("worker", expect=("A",))
        scenario = Scenario("one", {"worker": Program()}, ("worker",), verifier, broker=False, restart=restart)
        self.events: list[AnyEvent] = []
        backend: Any = None
        self.session = Session(scenario, [self.events.append], backend)
        self.containers = _Containers(self.session)
        self.session.pipeline.attach(self.containers, NoConnections())
        self.member = self.session.pipeline.members["worker"]
        self.session.pipeline.begin("worker")

    async def again(self) -> None:
        """Wait until chaoskit waits for the engine."""
        await self.session.pipeline.wait_for(lambda: self.containers.waits, 10.0)

    async def killed(self) -> None:
        """Kill it, which has to be told as the end of what died by itself, and to be refused the second time."""
        assert "had died by itself" in await self.session.kill("worker")
        assert (self.member.state, self.containers.kept_down) == ("dead", 1)
        with pytest.raises(UsageError, match="is not running"):
            await self.session.kill("worker")
        assert not any(isinstance(event, EnvironmentLost) for event in self.events)

    async def restarted(self) -> list[int]:
        """Start it by hand; the lives that have begun by then."""
        assert "worker was started" in await self.session.restart("worker")
        return [event.life for event in self.events if isinstance(event, ProgramStarted)]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_one_that_just_died_is_not_begun_any_more() -> None:
    async def work() -> None:
        up = _Up()
        up.containers.dies(0)
        assert up.member.state == "restarting"
        await up.killed()
        assert await up.restarted() == [0, 1]

    run(work())


def test_one_that_waits_for_its_engine_is_not_waited_for_any_more() -> None:
    async def work() -> None:
        up = _Up()
        up.containers.dies(0)
        await up.again()
        assert (up.member.state, up.member.life) == ("up", 1)
        await up.killed()
        assert await up.restarted() == [0, 1]

    run(work())


def test_one_that_was_given_up_is_taken_from_its_engine() -> None:
    async def work() -> None:
        up = _Up()
        up.member.crashes = up.member.crashes_in_a_row
        up.containers.dies(0)
        assert up.member.state == "dead"
        await up.killed()

    run(work())


def test_one_that_waits_for_its_engine_is_restarted_by_hand_at_once() -> None:
    async def work() -> None:
        up = _Up()
        up.containers.dies(0)
        await up.again()
        assert await up.restarted() == [0, 1]

    run(work())


def test_one_that_nobody_starts_again_is_not_running() -> None:
    async def work() -> None:
        up = _Up("none")
        up.containers.dies(0)
        with pytest.raises(UsageError, match="is not running"):
            await up.session.kill("worker")

    run(work())


class _Started:
    """An engine of one container, which it has not started again at the first look."""

    def __init__(self) -> None:
        self.api = self

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"State": {"StartedAt": "before", "Pid": 0}}


def test_a_life_that_nobody_waits_for_does_not_begin(tmp_path: Path) -> None:
    async def work() -> None:
        engine: Any = _Started()
        log = Log(tmp_path / "worker.log")

        def nothing(told: object) -> None:
            raise AssertionError(told)

        answers = iter((False, True))
        life = Life(engine, "c" * 64, log, nothing, nothing, nothing, after="before", given_up=lambda: next(answers))
        with pytest.raises(GivenUp):
            await life.begin()
        log.close()

    run(work())
