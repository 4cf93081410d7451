"""Exchanges: bindings, and which queues a routing key reaches. It does not hold messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pamqp.common import FieldTable

from chaoskit.broker.core.queue import Queue

_CACHED_KEYS = 1024


class Binding(NamedTuple):
    """One binding; `arguments` only tells two bindings apart, direct, fanout and topic do not read it."""

    queue: str
    routing_key: str
    arguments: str


def topic_matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """`*` stands for one word, `#` for any number of words, zero included."""
    # Bit i of `states` is set when the first i parts of the pattern can match the words seen so far, so that a
    # pattern with many '#' costs no more than len(pattern) steps a word.
    states = _skip_hashes(pattern, {0})
    for word in words:
        moved = set()
        for state in states:
            if state < len(pattern):
                if pattern[state] == "#":
                    moved.add(state)
                elif pattern[state] in ("*", word):
                    moved.add(state + 1)
        states = _skip_hashes(pattern, moved)
    return len(pattern) in states


def _skip_hashes(pattern: Sequence[str], states: set[int]) -> set[int]:
    for state in sorted(states):
        following = state
        while following < len(pattern) and pattern[following] == "#":
            following += 1
            states.add(following)
    return states


def _direct(pattern: str, routing_key: str) -> bool:
    return pattern == routing_key


def _fanout(pattern: str, routing_key: str) -> bool:
    return True


def _topic(pattern: str, routing_key: str) -> bool:
    return topic_matches(_words(pattern), _words(routing_key))


def _words(key: str) -> list[str]:
    # RabbitMQ: an empty key has no words at all, while "." has two empty ones.
    return key.split(".") if key else []


MATCHERS: dict[str, Callable[[str, str], bool]] = {"direct": _direct, "fanout": _fanout, "topic": _topic}


class Exchange:
    """A named exchange and its bindings."""

    def __init__(self, name: str, kind: str, durable: bool, auto_delete: bool, arguments: FieldTable) -> None:
        self.name = name
        self.kind = kind
        self.durable = durable
        self.auto_delete = auto_delete
        self.arguments = arguments
        self._bindings: dict[Binding, Queue] = {}
        self._routes: dict[str, tuple[Queue, ...]] = {}

    @property
    def in_use(self) -> bool:
        """Whether any queue is bound."""
        return bool(self._bindings)

    def bind(self, queue: Queue, routing_key: str, arguments: FieldTable) -> None:
        """Bind a queue; the same binding twice is one binding."""
        self._bindings[Binding(queue.name, routing_key, repr(sorted(arguments.items())))] = queue
        self._routes.clear()

    def unbind(self, queue: Queue, routing_key: str, arguments: FieldTable) -> bool:
        """Whether there was such a binding."""
        found = self._bindings.pop(Binding(queue.name, routing_key, repr(sorted(arguments.items()))), None)
        self._routes.clear()
        return found is not None

    def forget(self, queue: Queue) -> bool:
        """Drop all bindings of a queue; whether there were any."""
        gone = [binding for binding, bound in self._bindings.items() if bound is queue]
        for binding in gone:
            del self._bindings[binding]
        self._routes.clear()
        return bool(gone)

    def route(self, routing_key: str) -> tuple[Queue, ...]:
        """Every queue that a message with this key goes to, each once."""
        routes = self._routes.get(routing_key)
        if routes is None:
            routes = self._match(routing_key)
            if len(self._routes) >= _CACHED_KEYS:
                self._routes.clear()
            self._routes[routing_key] = routes
        return routes

    def _match(self, routing_key: str) -> tuple[Queue, ...]:
        matches = MATCHERS[self.kind]
        found = {queue: None for binding, queue in self._bindings.items() if matches(binding.routing_key, routing_key)}
        return tuple(found)
