"""A message: where it was published, its properties as they came, its body.

Properties stay encoded: a broker hands them on, and only a few of them mean something to it. It does not know queues.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chaoskit.broker.core import wire
from chaoskit.broker.core.errors import AmqpError, Reply

_ONLY_DELIVERY_MODE = b"\x10\x00"
_NOTHING = b"\x00\x00"
_PERSISTENT = 2
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
# Ten years of 365 days, RabbitMQ's limit for every timer.
MAX_TIME_TO_LIVE_MS = 10 * 365 * 86_400_000


@dataclass(slots=True, frozen=True)
class Death:
    """How often (`count`), where and why a message died, and when and as what it did so first."""

    queue: str
    reason: str
    time_s: float
    exchange: str
    routing_key: str
    expiration_ms: int | None
    count: int = 1


@dataclass(slots=True, frozen=True, eq=False)
class Message:
    """A published message.

    `properties` holds flags and values as on the wire; `expiration_ms` is the time to live that it brought along;
    `deaths` is what happened to it in queues that it passed, the latest first.
    """

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    expiration_ms: int | None = None
    deaths: tuple[Death, ...] = ()
    first_death: Death | None = None

    @property
    def persistent(self) -> bool:
        """Whether it was published with delivery mode 2, so that a durable queue keeps it over a restart."""
        if self.properties == _NOTHING:
            return False
        return wire.decode_properties(self.properties).delivery_mode == _PERSISTENT


def read_message(publish: wire.Publish, properties: bytes, body: bytes, user: str) -> Message:
    """The message of a basic.publish.

    Raises AmqpError: 406 for an expiration that is no number of milliseconds or a foreign user-id,
    502 for properties that cannot be read.
    """
    if properties == _NOTHING or (len(properties) == 3 and properties[:2] == _ONLY_DELIVERY_MODE):
        return Message(publish.exchange, publish.routing_key, properties, body)
    decoded = wire.decode_properties(properties)
    if decoded.user_id and decoded.user_id != user:
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f"user_id property set to '{decoded.user_id}' but authenticated user was '{user}'",
        )
    expiration_ms = None if decoded.expiration is None else _read_expiration(decoded.expiration)
    return Message(publish.exchange, publish.routing_key, properties, body, expiration_ms)


def _read_expiration(text: str) -> int:
    number = _INTEGER.match(text)
    if number is None:
        raise _invalid(text, "no_integer")
    if number.end() < len(text):
        raise _invalid(text, f'{{leftover_string,"{text[number.end() :]}"}}')
    reason = check_milliseconds(int(text))
    if reason is not None:
        raise _invalid(text, reason)
    return int(text)


def check_milliseconds(value_ms: int) -> str | None:
    """Why RabbitMQ refuses this as a time to live, or None."""
    if value_ms < 0:
        return f"{{value_negative,{value_ms}}}"
    return f"{{value_too_big,{value_ms}}}" if value_ms > MAX_TIME_TO_LIVE_MS else None


def _invalid(text: str, reason: str) -> AmqpError:
    return AmqpError(Reply.PRECONDITION_FAILED, f"invalid expiration '{text}': {reason}")
