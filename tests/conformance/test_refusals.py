"""Errors: the code, the words, and whether the channel or the connection is closed."""

from __future__ import annotations

from collections.abc import Callable

import pika
import pytest
from pamqp import commands, header
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from .actions import publish
from .raw_client import RawClient

LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'Q' in vhost '/'. It could be originally "
    "declared on another connection or the exclusive property value does not match that of the original declaration."
)
INVALID = "PRECONDITION_FAILED - invalid arg"
UNEQUAL = "PRECONDITION_FAILED - inequivalent arg"
DEFAULT_EXCHANGE = "ACCESS_REFUSED - operation not permitted on the default exchange"
Do = Callable[[BlockingChannel, str], object]


def _arguments(first: dict[str, object] | None, second: dict[str, object] | None) -> Do:
    def do(channel: BlockingChannel, name: str) -> None:
        channel.queue_declare(name, arguments=first)
        channel.queue_declare(name, arguments=second)

    return do


def _declare_twice(**changed: object) -> Do:
    def do(channel: BlockingChannel, name: str) -> None:
        channel.queue_declare(name)
        channel.queue_declare(name, **changed)

    return do


def _exchange_twice(**changed: object) -> Do:
    def do(channel: BlockingChannel, name: str) -> None:
        channel.exchange_declare(name, "direct")
        channel.exchange_declare(name, **({"exchange_type": "direct"} | changed))

    return do


def _bound_exchange_if_unused(channel: BlockingChannel, name: str) -> None:
    channel.exchange_declare(name)
    channel.queue_declare(name)
    channel.queue_bind(name, name, "key")
    channel.exchange_delete(name, if_unused=True)


def _full_queue_if_empty(channel: BlockingChannel, name: str) -> None:
    channel.confirm_delivery()
    channel.queue_declare(name)
    publish(channel, name, [b"x"])
    channel.queue_delete(name, if_empty=True)


def _busy_queue_if_unused(channel: BlockingChannel, name: str) -> None:
    channel.queue_declare(name)
    channel.basic_consume(name, lambda *_: None)
    channel.queue_delete(name, if_unused=True)


def _consume_twice(first: bool, second: bool) -> Do:
    def do(channel: BlockingChannel, name: str) -> None:
        channel.queue_declare(name)
        channel.basic_consume(name, lambda *_: None, exclusive=first)
        channel.connection.channel().basic_consume(name, lambda *_: None, exclusive=second)

    return do


def _own_exclusive_as_shared(channel: BlockingChannel, name: str) -> None:
    channel.queue_declare(name, exclusive=True)
    channel.queue_declare(name)


def _bind_to(exchange: str | None) -> Do:
    def do(channel: BlockingChannel, name: str) -> None:
        channel.queue_declare(name)
        channel.queue_bind(name, name if exchange is None else exchange, "key")

    return do


def _bind_missing_queue(channel: BlockingChannel, name: str) -> None:
    channel.exchange_declare(name)
    channel.queue_bind(name, name, "key")


def _publish_confirmed(channel: BlockingChannel, name: str) -> None:
    channel.confirm_delivery()
    channel.basic_publish(name, "key", b"")


SOFT: list[tuple[str, int, str, Do]] = [
    ("declare a missing queue passively", 404, "NOT_FOUND - no queue 'Q' in vhost '/'",
     lambda c, n: c.queue_declare(n, passive=True)),
    ("get from a missing queue", 404, "NOT_FOUND - no queue 'Q' in vhost '/'", lambda c, n: c.basic_get(n)),
    ("consume from a missing queue", 404, "NOT_FOUND - no queue 'Q' in vhost '/'",
     lambda c, n: c.basic_consume(n, lambda *_: None)),
    ("purge a missing queue", 404, "NOT_FOUND - no queue 'Q' in vhost '/'", lambda c, n: c.queue_purge(n)),
    ("use the last queue of a channel without one", 404, "NOT_FOUND - no previously declared queue",
     lambda c, n: c.queue_purge("")),
    ("declare a missing exchange passively", 404, "NOT_FOUND - no exchange 'Q' in vhost '/'",
     lambda c, n: c.exchange_declare(n, passive=True)),
    ("publish to a missing exchange", 404, "NOT_FOUND - no exchange 'Q' in vhost '/'", _publish_confirmed),
    ("bind to a missing exchange", 404, "NOT_FOUND - no exchange 'Q' in vhost '/'", _bind_to(None)),
    ("bind a missing queue", 404, "NOT_FOUND - no queue 'Q' in vhost '/'", _bind_missing_queue),
    ("bind missing queue and exchange", 404, "NOT_FOUND - no exchange 'Q' in vhost '/'",
     lambda c, n: c.queue_bind(n, n, "key")),
    ("bind to the default exchange", 403, DEFAULT_EXCHANGE, _bind_to("")),
    ("declare the default exchange", 403, DEFAULT_EXCHANGE, lambda c, n: c.exchange_declare("", "direct")),
    ("delete the default exchange", 403, DEFAULT_EXCHANGE, lambda c, n: c.exchange_delete("")),
    ("delete a predeclared exchange", 403,
     "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
     lambda c, n: c.exchange_delete("amq.direct")),
    ("declare a queue with a reserved name", 403,
     "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
     lambda c, n: c.queue_declare("amq.mine")),
    ("declare an exchange with a reserved name", 403,
     "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
     lambda c, n: c.exchange_declare("amq.mine")),
    ("consume exclusively beside another", 403, "ACCESS_REFUSED - queue 'Q' in vhost '/' in exclusive use",
     _consume_twice(False, True)),
    ("consume beside an exclusive consumer", 403, "ACCESS_REFUSED - queue 'Q' in vhost '/' in exclusive use",
     _consume_twice(True, False)),
    ("declare a shared queue as exclusive", 405, LOCKED, _declare_twice(exclusive=True)),
    ("declare an exclusive queue as shared", 405, LOCKED, _own_exclusive_as_shared),
    ("change durable", 406, f"{UNEQUAL} 'durable' for queue 'Q' in vhost '/': received 'true' but current is 'false'",
     _declare_twice(durable=True)),
    ("change auto-delete", 406,
     f"{UNEQUAL} 'auto_delete' for queue 'Q' in vhost '/': received 'true' but current is 'false'",
     _declare_twice(auto_delete=True)),
    ("add an argument", 406, f"{UNEQUAL} 'x-message-ttl' for queue 'Q' in vhost '/': "
     "received the value '1000' of type 'signedint' but current is none", _arguments(None, {"x-message-ttl": 1000})),
    ("drop an argument", 406, f"{UNEQUAL} 'x-dead-letter-exchange' for queue 'Q' in vhost '/': "
     "received none but current is the value 'a' of type 'longstr'", _arguments({"x-dead-letter-exchange": "a"}, None)),
    ("change an argument", 406,
     f"{UNEQUAL} 'x-max-length' for queue 'Q' in vhost '/': received '6' but current is '5'",
     _arguments({"x-max-length": 5}, {"x-max-length": 6})),
    ("negative time to live", 406, f"{INVALID} 'x-message-ttl' for queue 'Q' in vhost '/': {{value_negative,-1}}",
     lambda c, n: c.queue_declare(n, arguments={"x-message-ttl": -1})),
    ("time to live as text", 406,
     f"{INVALID} 'x-message-ttl' for queue 'Q' in vhost '/': \"expected integer, got longstr\"",
     lambda c, n: c.queue_declare(n, arguments={"x-message-ttl": "soon"})),
    ("dead-letter key without exchange", 406,
     f"{INVALID} 'x-dead-letter-routing-key' for queue 'Q' in vhost '/': routing_key_but_no_dlx_defined",
     lambda c, n: c.queue_declare(n, arguments={"x-dead-letter-routing-key": "a"})),
    ("dead-letter exchange as number", 406,
     "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'Q' in vhost '/'",
     lambda c, n: c.queue_declare(n, arguments={"x-dead-letter-exchange": 1})),
    ("change an exchange's type", 406,
     f"{UNEQUAL} 'type' for exchange 'Q' in vhost '/': received 'fanout' but current is 'direct'",
     _exchange_twice(exchange_type="fanout")),
    ("change an exchange's durable", 406,
     f"{UNEQUAL} 'durable' for exchange 'Q' in vhost '/': received 'true' but current is 'false'",
     _exchange_twice(durable=True)),
    ("delete a bound exchange if unused", 406, "PRECONDITION_FAILED - exchange 'Q' in vhost '/' in use",
     _bound_exchange_if_unused),
    ("delete a busy queue if unused", 406, "PRECONDITION_FAILED - queue 'Q' in vhost '/' in use",
     _busy_queue_if_unused),
    ("delete a full queue if empty", 406, "PRECONDITION_FAILED - queue 'Q' in vhost '/' not empty",
     _full_queue_if_empty),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "do"), [case[1:] for case in SOFT], ids=[case[0] for case in SOFT])
def test_the_channel_is_closed_with_the_reason_and_the_connection_lives(
    connect: Callable[[], pika.BlockingConnection], name: Callable[[], str], code: int, text: str, do: Do
) -> None:
    connection, used = connect(), name()
    with pytest.raises(ChannelClosedByBroker) as refused:
        do(connection.channel(), used)
    assert (refused.value.reply_code, refused.value.reply_text) == (code, text.replace("'Q'", f"'{used}'"))
    assert connection.channel().queue_declare("", exclusive=True).method.message_count == 0


def test_an_unknown_exchange_type_is_refused(
    connect: Callable[[], pika.BlockingConnection], name: Callable[[], str], version: tuple[int, ...]
) -> None:
    if version < (4, 0):
        pytest.skip("RabbitMQ 3 closes the connection with 503; the embedded broker follows 4")
    connection = connect()
    with pytest.raises(ChannelClosedByBroker) as refused:
        connection.channel().exchange_declare(name(), "nonsense")
    text = "PRECONDITION_FAILED - unknown exchange type 'nonsense'"
    assert (refused.value.reply_code, refused.value.reply_text) == (406, text)


HARD: list[tuple[str, int, str, Do]] = [
    ("prefetch size", 540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)", lambda c, n: c.basic_qos(prefetch_size=10)),
    ("recover without requeue", 540, "NOT_IMPLEMENTED - requeue=false", lambda c, n: c.basic_recover(requeue=False)),
    ("flow off", 540, "NOT_IMPLEMENTED - active=false", lambda c, n: c.flow(False)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "do"), [case[1:] for case in HARD], ids=[case[0] for case in HARD])
def test_the_connection_is_closed_with_the_reason(
    connect: Callable[[], pika.BlockingConnection], name: Callable[[], str], code: int, text: str, do: Do
) -> None:
    connection = connect()
    with pytest.raises(ConnectionClosedByBroker) as refused:
        do(connection.channel(), name())
    assert (refused.value.reply_code, refused.value.reply_text) == (code, text)
    assert connection.is_closed


@pytest.mark.parametrize(
    "use",
    [
        lambda c, n: c.basic_get(n),
        lambda c, n: c.queue_declare(n, passive=True),
        lambda c, n: c.queue_declare(n, exclusive=True),
        lambda c, n: c.queue_delete(n),
        lambda c, n: c.basic_consume(n, lambda *_: None),
    ],
    ids=["get", "passive declare", "exclusive declare", "delete", "consume"],
)
def test_an_exclusive_queue_is_locked_for_other_connections(
    connect: Callable[[], pika.BlockingConnection], name: Callable[[], str], use: Do
) -> None:
    used = name()
    connect().channel().queue_declare(used, exclusive=True)
    with pytest.raises(ChannelClosedByBroker) as refused:
        use(connect().channel(), used)
    assert (refused.value.reply_code, refused.value.reply_text) == (405, LOCKED.replace("'Q'", f"'{used}'"))


@pytest.mark.parametrize(
    ("method", "tag", "method_id"),
    [
        (commands.Basic.Ack(99), 99, 80),
        (commands.Basic.Ack(99, True), 99, 80),
        (commands.Basic.Ack(0), 0, 80),
        (commands.Basic.Nack(7), 7, 120),
        (commands.Basic.Reject(7), 7, 90),
    ],
    ids=["ack", "ack many", "ack zero", "nack", "reject"],
)
def test_settling_what_was_never_delivered_closes_the_channel(
    wire: RawClient, method: object, tag: int, method_id: int
) -> None:
    wire.send(method)
    close = wire.expect(commands.Channel.Close)
    assert (close.reply_code, close.reply_text) == (406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")
    assert (close.class_id, close.method_id) == (60, method_id)


def test_acknowledging_everything_when_nothing_is_held_is_fine(wire: RawClient) -> None:
    wire.send(commands.Basic.Ack(0, True))
    assert wire.declare(exclusive=True).message_count == 0


@pytest.mark.parametrize(
    ("expiration", "reason"),
    [("abc", "no_integer"), ("-1", "{value_negative,-1}"), ("12ms", '{leftover_string,"ms"}')],
)
def test_an_expiration_that_is_no_number_of_milliseconds_closes_the_channel(
    wire: RawClient, expiration: str, reason: str
) -> None:
    properties = commands.Basic.Properties(expiration=expiration)
    wire.send(commands.Basic.Publish(routing_key="a"), header.ContentHeader(0, 0, properties))
    close = wire.expect(commands.Channel.Close)
    assert close.reply_text == f"PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}"
    assert (close.reply_code, close.class_id, close.method_id) == (406, 60, 40)


def test_a_foreign_user_id_closes_the_channel(wire: RawClient) -> None:
    properties = commands.Basic.Properties(user_id="bob")
    wire.send(commands.Basic.Publish(routing_key="a"), header.ContentHeader(0, 0, properties))
    close = wire.expect(commands.Channel.Close)
    assert close.reply_text == (
        "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"
    )


def test_a_consumer_tag_is_used_once_on_a_channel(wire: RawClient) -> None:
    queue = wire.declare(exclusive=True).queue or ""
    wire.send(
        commands.Basic.Consume(queue=queue, consumer_tag="t", nowait=True),
        commands.Basic.Consume(queue=queue, consumer_tag="t"),
    )
    close = wire.expect(commands.Connection.Close)
    assert (close.reply_code, close.reply_text) == (530, "NOT_ALLOWED - attempt to reuse consumer tag 't'")


def test_immediate_delivery_is_not_implemented(wire: RawClient) -> None:
    wire.send(commands.Basic.Publish(routing_key="a", immediate=True), header.ContentHeader())
    close = wire.expect(commands.Connection.Close)
    assert (close.reply_code, close.reply_text) == (540, "NOT_IMPLEMENTED - immediate=true")


def test_a_passive_declare_without_a_name_finds_nothing(wire: RawClient) -> None:
    wire.send(commands.Queue.Declare(queue="", passive=True))
    close = wire.expect(commands.Channel.Close)
    assert (close.reply_code, close.reply_text) == (404, "NOT_FOUND - no queue '' in vhost '/'")
