"""What the engine makes of an agent's words about steps at messages."""

from types import SimpleNamespace
from typing import Any

import pytest

from chaoskit.engine.remote import RemoteConnections
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtMessage


class Link:
    """Remembers what the agent is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def tell(self, do: str, **arguments: Any) -> None:
        self.told.append((do, arguments))


@pytest.mark.parametrize("alive", [True, False])
def test_a_network_is_given_back_when_its_program_died_before_it_was_taken(alive: bool) -> None:
    step = Step("disconnect", "worker", AtMessage("delivered", "jobs", 1))
    link = Link()
    acted: list[int] = []

    def act_now(index: int, point: str) -> None:
        acted.append(index)
        if alive:
            # As the fault does it, without the task that follows.
            connections.outages._cut_off.add("worker")

    executor: Any = SimpleNamespace(act_now=act_now, plan=SimpleNamespace(steps=(step,)))
    pipeline: Any = SimpleNamespace(changed=SimpleNamespace(set=lambda: None))
    containers: Any = None
    connections = RemoteConnections(pipeline, executor, link, containers)  # type: ignore[arg-type]
    connections.hear({"event": "due", "index": 0, "point": "worker/delivered:jobs#1"})
    assert acted == [0]
    assert link.told == ([] if alive else [("reconnect", {"program": "worker"})])
