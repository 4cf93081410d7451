"""Which queues a message reaches, learned from the declarations and bindings that pass through the proxies.

Knows the default, direct, fanout and topic exchanges and exchange-to-exchange bindings. It does not know headers
exchanges, alternate exchanges, or anything that was declared past the proxies: `resolve` then finds no queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Binding(NamedTuple):
    """What an exchange is bound to: a queue, or (`to_exchange`) another exchange."""

    routing_key: str
    destination: str
    to_exchange: bool


_PREDECLARED = {"amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic"}
_UNRESOLVED_CACHE_ENTRIES = 10_000


class Topology:
    """The exchanges and bindings of one broker; share one between all proxies of a pipeline."""

    def __init__(self) -> None:
        self._exchange_types: dict[str, str] = dict(_PREDECLARED)
        self._bindings: dict[str, set[Binding]] = {}
        self._resolved: dict[tuple[str, str], tuple[str, ...]] = {}

    def declare_exchange(self, name: str, exchange_type: str) -> None:
        """Learn an exchange; the first declaration of a name is the one that counts, as on a broker."""
        self._exchange_types.setdefault(name, exchange_type)
        self._resolved.clear()

    def delete_exchange(self, name: str) -> None:
        """Forget an exchange and every binding from and to it."""
        self._exchange_types.pop(name, None)
        self._bindings.pop(name, None)
        self._forget_destination(name, to_exchange=True)

    def bind(self, exchange: str, binding: Binding) -> None:
        """Learn a binding."""
        self._bindings.setdefault(exchange, set()).add(binding)
        self._resolved.clear()

    def unbind(self, exchange: str, binding: Binding) -> None:
        """Forget a binding; one that was never seen is ignored."""
        self._bindings.get(exchange, set()).discard(binding)
        self._resolved.clear()

    def delete_queue(self, queue: str) -> None:
        """Forget every binding to a queue."""
        self._forget_destination(queue, to_exchange=False)

    def resolve(self, exchange: str, routing_key: str) -> tuple[str, ...]:
        """The queues, sorted, that a message reaches; empty when none is known."""
        if not exchange:
            return (routing_key,)
        key = (exchange, routing_key)
        queues = self._resolved.get(key)
        if queues is None:
            queues = tuple(sorted(set(self._walk(exchange, routing_key))))
            # A publisher with ever new routing keys must not grow the cache for ever.
            if len(self._resolved) >= _UNRESOLVED_CACHE_ENTRIES:
                self._resolved.clear()
            self._resolved[key] = queues
        return queues

    def _walk(self, exchange: str, routing_key: str) -> Iterator[str]:
        visited: set[str] = set()
        waiting = [exchange]
        while waiting:
            name = waiting.pop()
            if name in visited:
                continue
            visited.add(name)
            for binding in self._matching(name, routing_key):
                if binding.to_exchange:
                    waiting.append(binding.destination)
                else:
                    yield binding.destination

    def _matching(self, exchange: str, routing_key: str) -> Iterator[Binding]:
        exchange_type = self._exchange_types.get(exchange)
        for binding in self._bindings.get(exchange, ()):
            if _matches(exchange_type, binding.routing_key, routing_key):
                yield binding

    def _forget_destination(self, name: str, to_exchange: bool) -> None:
        for bindings in self._bindings.values():
            gone = {b for b in bindings if b.destination == name and b.to_exchange == to_exchange}
            bindings -= gone
        self._resolved.clear()


def name_unresolved(exchange: str, routing_key: str) -> str:
    """What stands for the queue of a message whose queue is not known."""
    return f"{exchange}/{routing_key}"


def _matches(exchange_type: str | None, pattern: str, routing_key: str) -> bool:
    if exchange_type == "fanout":
        return True
    if exchange_type == "direct":
        return pattern == routing_key
    if exchange_type == "topic":
        return topic_matches(pattern, routing_key)
    return False


def topic_matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic pattern (`*` one word, `#` any number of words) matches a routing key.

    Walks the set of reachable pattern positions, so that a pattern of many `#` costs no more than words x positions.
    """
    words = routing_key.split(".") if routing_key else []
    parts = pattern.split(".") if pattern else []
    positions = _skip_hashes({0}, parts)
    for word in words:
        stepped = {p + 1 for p in positions if p < len(parts) and parts[p] in ("*", word)}
        stayed = {p for p in positions if p < len(parts) and parts[p] == "#"}
        positions = _skip_hashes(stepped | stayed, parts)
    return len(parts) in positions


def _skip_hashes(positions: set[int], parts: list[str]) -> set[int]:
    reached = set(positions)
    for position in positions:
        following = position
        while following < len(parts) and parts[following] == "#":
            following += 1
            reached.add(following)
    return reached
