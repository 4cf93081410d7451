"""What a message looks like after it died in a queue: RabbitMQ's `x-death` bookkeeping.

Pure functions from message to message; routing the result is not done here. Source: RabbitMQ's documentation on dead
lettering ("Effects on messages").
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from pamqp.common import FieldArray, FieldTable

from chaoskit.broker.core import wire
from chaoskit.broker.core.message import Message
from chaoskit.broker.core.properties import with_headers

_MAX_COUNT = 2**63 - 1


class Death(NamedTuple):
    """Where, why (rejected, expired, maxlen) and when (seconds since 1970) a message died."""

    queue: str
    reason: str
    time_s: float


def bury(message: Message, death: Death, exchange: str, routing_key: str | None) -> Message:
    """The message as it is published to the dead-letter exchange; its own expiration is gone."""
    headers = dict(wire.decode_properties(message.properties).headers or {})
    deaths = _deaths(headers)
    newest = _count(deaths, message, death)
    others = [other for other in deaths if other is not newest]
    history: FieldArray = [newest, *others]
    place: FieldTable = {"exchange": message.exchange, "queue": death.queue, "reason": death.reason}
    added: FieldTable = {f"x-first-death-{k}": headers.get(f"x-first-death-{k}", v) for k, v in place.items()}
    added.update({f"x-last-death-{k}": v for k, v in place.items()})
    added["x-death"] = history
    key = message.routing_key if routing_key is None else routing_key
    return Message(exchange, key, with_headers(message.properties, added), message.body)


def in_cycle(message: Message, queue: str) -> bool:
    """Whether the message died in this queue before and nobody rejected it since then."""
    headers = wire.decode_properties(message.properties).headers or {}
    for entry in _deaths(headers):
        if entry.get("reason") == "rejected":
            return False
        if entry.get("queue") == queue:
            return True
    return False


def _deaths(headers: FieldTable) -> list[FieldTable]:
    found = headers.get("x-death")
    return [dict(entry) for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _count(deaths: list[FieldTable], message: Message, death: Death) -> FieldTable:
    for entry in deaths:
        if entry.get("queue") == death.queue and entry.get("reason") == death.reason:
            count = entry.get("count")
            entry["count"] = min(count, _MAX_COUNT - 1) + 1 if isinstance(count, int) else 1
            return entry
    return _first_death(message, death)


def _first_death(message: Message, death: Death) -> FieldTable:
    keys: FieldArray = [message.routing_key]
    entry: FieldTable = {
        "count": 1,
        "reason": death.reason,
        "queue": death.queue,
        "time": datetime.fromtimestamp(int(death.time_s), tz=UTC),
        "exchange": message.exchange,
        "routing-keys": keys,
    }
    if message.expiration_ms is not None:
        entry["original-expiration"] = str(message.expiration_ms)
    return entry
