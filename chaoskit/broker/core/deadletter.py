"""What a message looks like after it died in a queue: RabbitMQ's `x-death` bookkeeping.

Pure functions from message to message; routing the result is not done here. The history of deaths belongs to the
broker: as in RabbitMQ 4 (and unlike 3), `x-death` headers that a client publishes are not read. Source: RabbitMQ's
documentation on dead lettering ("Effects on messages") and the notes on release 4.0.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pamqp.common import FieldTable

from chaoskit.broker.core.message import Death, Message
from chaoskit.broker.core.properties import with_headers


def bury(message: Message, queue: str, reason: str, time_s: float, exchange: str, routing_key: str | None) -> Message:
    """The message as it is published to the dead-letter exchange; its own expiration is gone.

    `reason` is rejected, expired or maxlen, `time_s` counts from 1970; without `routing_key` it keeps its own.
    """
    deaths = _add(message, Death(queue, reason, time_s, message.exchange, message.routing_key, message.expiration_ms))
    return Message(
        exchange,
        message.routing_key if routing_key is None else routing_key,
        with_headers(message.properties, _headers(deaths, message)),
        message.body,
        deaths=deaths,
        first_death=message.first_death or deaths[0],
    )


def in_cycle(message: Message, queue: str) -> bool:
    """Whether the message died in this queue before and nobody rejected it since then."""
    for death in message.deaths:
        if death.reason == "rejected":
            return False
        if death.queue == queue:
            return True
    return False


def _add(message: Message, newest: Death) -> tuple[Death, ...]:
    """The deaths of a message, the newest first; dying again in the same way is counted."""
    same = [death for death in message.deaths if (death.queue, death.reason) == (newest.queue, newest.reason)]
    others = [death for death in message.deaths if death not in same]
    return (replace(same[0], count=same[0].count + 1) if same else newest, *others)


def _headers(deaths: tuple[Death, ...], message: Message) -> FieldTable:
    headers: FieldTable = {"x-death": [_describe(death) for death in deaths]}
    for which, death in (("first", message.first_death or deaths[0]), ("last", deaths[0])):
        headers[f"x-{which}-death-reason"] = death.reason
        headers[f"x-{which}-death-queue"] = death.queue
        # The place where it was last published, even when the death itself was counted before.
        headers[f"x-{which}-death-exchange"] = message.exchange if which == "last" else death.exchange
    return headers


def _describe(death: Death) -> FieldTable:
    entry: FieldTable = {
        "count": death.count,
        "reason": death.reason,
        "queue": death.queue,
        "time": datetime.fromtimestamp(int(death.time_s), tz=UTC),
        "exchange": death.exchange,
        "routing-keys": [death.routing_key],
    }
    if death.expiration_ms is not None:
        entry["original-expiration"] = str(death.expiration_ms)
    return entry
