"""The lanes of a timeline: programs and queues, from where messages come in to where they end."""

from collections.abc import Sequence
from typing import Any

from chaoskit.model.events import AnyEvent, Message
from chaoskit.model.scenario import Scenario
from chaoskit.report.clean import clean

_MOST_QUEUES = 40
Node = tuple[str, str]
"""`program` or `queue`, and its name."""


def order(events: Sequence[AnyEvent], scenario: Scenario) -> list[Node]:
    """What has a lane, from top to bottom: every program, and the queues that were used."""
    flows = _flows(events)
    queues = list(dict.fromkeys(node for edge in flows for node in edge if node[0] == "queue"))[:_MOST_QUEUES]
    programs: list[Node] = [("program", name) for name in scenario.programs]
    nodes = [*programs, *queues]
    return _sorted(nodes, [e for e in flows if e[0] in nodes and e[1] in nodes])


def _flows(events: Sequence[AnyEvent]) -> list[tuple[Node, Node]]:
    """Who sends to which queue, and who is sent from it, in the order in which it was first seen."""
    found: dict[tuple[Node, Node], None] = {}
    for event in events:
        if isinstance(event, Message) and not event.injected:
            program, queue = ("program", event.program), ("queue", event.queue)
            if event.kind == "published":
                found[program, queue] = None
            elif event.kind == "delivered":
                found[queue, program] = None
    return list(found)


def _sorted(nodes: Sequence[Node], flows: Sequence[tuple[Node, Node]]) -> list[Node]:
    """Each after those it gets messages from; a circle is cut at its first node. Who takes no part comes last."""
    taking_part = {node for edge in flows for node in edge}
    waiting = [node for node in nodes if node in taking_part]
    found: list[Node] = []
    while waiting:
        free = (n for n in waiting if not any(to == n and from_ in waiting for from_, to in flows))
        node = next(free, waiting[0])
        waiting.remove(node)
        found.append(node)
    return [*found, *(node for node in nodes if node not in taking_part)]


def lane(node: Node, scenario: Scenario) -> dict[str, Any]:
    """A lane as the page has it, with its role: the target, or the verifier."""
    kind, name = node
    role = ""
    if kind == "program":
        role = "target" if name in scenario.target else "verifier" if name == scenario.verifier.program else ""
    return {"name": clean(name, 120), "kind": kind, "role": role}
