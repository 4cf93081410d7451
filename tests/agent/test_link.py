"""The connection to an agent: here a process of this machine that speaks as one, and says what a test wants."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose.link import AgentLink

_DEADLINE_S = 20.0
# Answers every command, `refuse` with an error, and does as `say` and `leave` tell it.
_AGENT = """\
import json, sys, time

def send(**body):
    print(json.dumps(body), flush=True)

send(event="hello", at_s=time.monotonic(), tap="", machine="")
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "refuse":
        send(id=asked["id"], error="no such program")
        continue
    if asked["do"] == "say":
        print(asked["text"], flush=True)
    if asked["do"] == "leave":
        sys.exit("out of memory")
    send(id=asked["id"], ok=time.monotonic())
"""


class _Told:
    """What a link told, and a wait for it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.failures: list[BaseException] = []
        self._news = asyncio.Event()

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)
        self._news.set()

    def failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context["exception"])
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(_DEADLINE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def _linked() -> AsyncIterator[tuple[AgentLink, _Told]]:
    told = _Told()
    asyncio.get_running_loop().set_exception_handler(told.failed)
    link = AgentLink(told.lost)
    try:
        await link.open([sys.executable, "-c", _AGENT])
        yield link, told
    finally:
        await link.close()


def test_a_command_that_nobody_waits_for_and_that_fails_is_told() -> None:
    async def work() -> None:
        async with _linked() as (link, told):
            link.tell("refuse")
            await told.until(lambda: told.reasons)
            assert told.reasons == ["the agent: no such program"]

    asyncio.run(work())


def test_a_failure_of_whoever_hears_an_event_is_a_bug_of_ours_and_leaves_the_link_whole() -> None:
    async def work() -> None:
        async with _linked() as (link, told):

            def hear(event: dict[str, Any]) -> None:
                raise KeyError(event["event"])

            link.on_event = hear
            link.tell("say", text='{"event": "odd", "at_s": 1}')
            await told.until(lambda: told.failures)
            assert repr(told.failures) == "[KeyError('odd')]"
            assert await link.ask("clock") > 0
            assert told.reasons == []

    asyncio.run(work())


def test_a_line_that_is_none_of_an_agents_ends_the_link_and_is_shown() -> None:
    async def work() -> None:
        async with _linked() as (link, told):
            link.tell("say", text="Segmentation fault")
            await told.until(lambda: told.reasons)
            assert "it said what is no line of an agent" in told.reasons[0]
            with pytest.raises(EnvironmentProblem, match="the agent is gone"):
                await link.ask("clock")

    asyncio.run(work())


def test_an_agent_that_ends_fails_who_waits_for_its_answer() -> None:
    async def work() -> None:
        async with _linked() as (link, told):
            with pytest.raises(EnvironmentProblem, match="the agent is gone"):
                await link.ask("leave")
            assert len(told.reasons) == 1

    asyncio.run(work())
