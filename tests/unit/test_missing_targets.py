"""A step whose target has no connection, or no network any more, hurts nothing: it did not fire."""

import asyncio

import pytest

from chaoskit.engine.brokerless import NoConnections
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Pipeline
from chaoskit.faults import TABLE
from chaoskit.model.events import AnyEvent, FaultFailed, FaultFired
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Program, Scenario, Verifier
from chaoskit.model.triggers import AtTime

from .test_pipeline_restarts import _Containers


class _Connections(NoConnections):
    """Whether the one program has a connection, and a network."""

    def __init__(self, connected: bool, cut_off: bool) -> None:
        self._connected, self._is_cut_off = connected, cut_off

    def connected(self, program: str) -> bool:
        return self._connected

    def cut_off(self, program: str) -> bool:
        return self._is_cut_off


def reason(fault: str, connected: bool, cut_off: bool) -> str:
    """Why the step did not happen; empty when it did."""
    events: list[AnyEvent] = []

    async def work() -> None:
        scenario = Scenario("one", {"worker": Program()}, ("worker",), Verifier("worker", expect=("A",)))
        pipeline = Pipeline(scenario, events.append)
        pipeline.attach(_Containers(always=False), _Connections(connected, cut_off))
        executor = Executor(pipeline, Plan(0, (Step(fault, "worker", AtTime(0.0)),)), TABLE)
        pipeline.begin("worker")
        executor.act_now(0, "worker/published:q#1")

    asyncio.run(work())
    (event,) = [event for event in events if isinstance(event, FaultFired | FaultFailed)]
    return event.reason if isinstance(event, FaultFailed) else ""


@pytest.mark.parametrize(
    ("fault", "connected", "cut_off", "said"),
    [
        ("cut", True, False, ""),
        ("cut", False, False, "worker had no connection to the broker at worker/published:q#1"),
        ("disconnect", False, False, ""),
        ("disconnect", True, True, "worker was without a network already at worker/published:q#1"),
    ],
)
def test_what_is_not_there_is_not_hurt(fault: str, connected: bool, cut_off: bool, said: str) -> None:
    assert reason(fault, connected, cut_off) == said
