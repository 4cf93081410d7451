"""Arguments of queues and exchanges: which are understood, which are refused, and when two sets are equivalent.

It does not act on any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pamqp.common import FieldTable, FieldValue

from chaoskit.broker.core.errors import AmqpError, Reply, not_implemented
from chaoskit.broker.core.message import check_milliseconds

_HARMLESS = {
    "x-queue-type": ("classic",),
    "x-queue-mode": ("default", "lazy"),
    "x-queue-version": (1, 2),
    "x-overflow": ("drop-head",),
}
_KNOWN_TO_RABBITMQ = frozenset(
    {
        "x-expires",
        "x-max-length-bytes",
        "x-max-priority",
        "x-single-active-consumer",
        "x-dead-letter-strategy",
        "x-delivery-limit",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-max-age",
        "x-stream-max-segment-size-bytes",
        "x-initial-cluster-size",
        "x-quorum-initial-group-size",
        "x-queue-leader-locator",
        "x-queue-master-locator",
    }
)
_COMPARED = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-queue-type",
    "x-overflow",
)
_DEFAULTS: FieldTable = {"x-queue-type": "classic"}


@dataclass(slots=True, frozen=True)
class QueueArguments:
    """What the broker acts on; `table` is everything that the client sent."""

    table: FieldTable
    message_ttl_ms: int | None = None
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    max_length: int | None = None


def read_queue_arguments(table: FieldTable, queue: str) -> QueueArguments:
    """Raises AmqpError 406 for a value that RabbitMQ refuses, 540 for an argument that this broker does not do."""
    for name, value in table.items():
        if name in _KNOWN_TO_RABBITMQ or (name in _HARMLESS and value not in _HARMLESS[name]):
            raise not_implemented(f"queue argument {name}={value!r}")
    arguments = QueueArguments(
        table,
        _count(table, "x-message-ttl", queue),
        _text(table, "x-dead-letter-exchange", queue),
        _text(table, "x-dead-letter-routing-key", queue),
        _count(table, "x-max-length", queue),
    )
    if arguments.dead_letter_routing_key is not None and arguments.dead_letter_exchange is None:
        raise _invalid("x-dead-letter-routing-key", queue, "routing_key_but_no_dlx_defined")
    return arguments


def _count(table: FieldTable, name: str, queue: str) -> int | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(name, queue, f'"expected integer, got {_type_name(value)}"')
    reason = check_milliseconds(value) if name == "x-message-ttl" or value < 0 else None
    if reason is not None:
        raise _invalid(name, queue, reason)
    return value


def _text(table: FieldTable, name: str, queue: str) -> str | None:
    value = table.get(name)
    if value is None or isinstance(value, str):
        return value
    if name == "x-dead-letter-exchange":
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f"invalid type '{_type_name(value)}' for arg '{name}' in queue '{queue}' in vhost '/'",
        )
    raise _invalid(name, queue, f"{{unacceptable_type,{_type_name(value)}}}")


def _invalid(name: str, queue: str, reason: str) -> AmqpError:
    return AmqpError(Reply.PRECONDITION_FAILED, f"invalid arg '{name}' for queue '{queue}' in vhost '/': {reason}")


def check_equivalent(what: str, current: Mapping[str, object], received: Mapping[str, object]) -> None:
    """Compare attributes (durable, auto_delete, type); raises AmqpError 406 at the first that differs."""
    for name, value in received.items():
        if value != current[name]:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"inequivalent arg '{name}' for {what} in vhost '/': "
                f"received '{_lower(value)}' but current is '{_lower(current[name])}'",
            )


def check_arguments_equivalent(what: str, current: FieldTable, received: FieldTable) -> None:
    """Compare the arguments that mean something; raises AmqpError 406 at the first that differs."""
    for name in _COMPARED:
        default = _DEFAULTS.get(name)
        old, new = current.get(name, default), received.get(name, default)
        if old != new:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"inequivalent arg '{name}' for {what} in vhost '/': {_describe_difference(old, new)}",
            )


def _lower(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _describe_difference(old: FieldValue, new: FieldValue) -> str:
    # RabbitMQ shows the types only when one of the two is missing.
    if old is not None and new is not None:
        return f"received '{_lower(new)}' but current is '{_lower(old)}'"
    return f"received {_describe(new)} but current is {_describe(old)}"


def _describe(value: FieldValue) -> str:
    return "none" if value is None else f"the value '{_lower(value)}' of type '{_type_name(value)}'"


def _type_name(value: FieldValue) -> str:
    # pamqp forgets how wide an integer was on the wire, so the name is that of the type clients choose for it.
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "signedint" if -(2**31) <= value < 2**31 else "long"
    names = {str: "longstr", float: "double", dict: "table", list: "array", type(None): "void"}
    return names.get(type(value), "binary")
