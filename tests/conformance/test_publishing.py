"""basic.publish: confirms, returns, properties, order."""

from __future__ import annotations

from collections.abc import Callable

import pika
import pytest
from pamqp import body, commands, header
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from .actions import bodies, get, publish
from .raw_client import RawClient

Name = Callable[[], str]


def _confirmed(wire: RawClient, count: int) -> list[int]:
    """Delivery tags that the broker confirms until all of `count` are, in any order; each must come once."""
    waiting = set(range(1, count + 1))
    tags: list[int] = []
    while waiting:
        ack = wire.expect(commands.Basic.Ack)
        confirmed = [tag for tag in waiting if tag < ack.delivery_tag] if ack.multiple else []
        tags += [*confirmed, ack.delivery_tag]
        waiting.difference_update(tags)
    return sorted(tags)


def test_messages_come_out_in_the_order_they_went_in(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    sent = [b"%d" % number for number in range(100)]
    publish(channel, queue, sent)
    assert bodies(channel, queue) == sent


def test_every_message_is_confirmed_exactly_once_in_confirm_mode(wire: RawClient, name: Name) -> None:
    queue = name()
    wire.declare(queue)
    wire.send(commands.Confirm.Select())
    wire.expect(commands.Confirm.SelectOk)
    for number in range(50):
        wire.publish(queue if number % 2 else "nowhere", b"x")
    assert _confirmed(wire, 50) == list(range(1, 51))


def test_confirms_count_from_the_moment_the_mode_is_on(wire: RawClient, name: Name) -> None:
    queue = name()
    wire.declare(queue)
    wire.publish(queue, b"not confirmed")
    wire.send(commands.Confirm.Select())
    wire.expect(commands.Confirm.SelectOk)
    wire.send(commands.Confirm.Select())
    wire.expect(commands.Confirm.SelectOk)
    wire.publish(queue, b"confirmed")
    assert _confirmed(wire, 1) == [1]


def test_a_confirmed_message_can_be_read_at_once_by_another_connection(
    connect: Callable[[], pika.BlockingConnection], channel: BlockingChannel, queue: str
) -> None:
    reader = connect().channel()
    channel.confirm_delivery()
    for number in range(20):
        publish(channel, queue, [b"%d" % number])
        assert bodies(reader, queue) == [b"%d" % number]


def test_a_mandatory_message_comes_back_before_its_confirm(wire: RawClient) -> None:
    wire.send(commands.Confirm.Select())
    wire.expect(commands.Confirm.SelectOk)
    properties = commands.Basic.Properties(message_id="m", headers={"k": "v"})
    wire.send(
        commands.Basic.Publish(exchange="amq.direct", routing_key="nowhere", mandatory=True),
        header.ContentHeader(0, 2, properties),
        body.ContentBody(b"hi"),
    )
    returned = wire.expect(commands.Basic.Return)
    assert (returned.reply_code, returned.reply_text) == (312, "NO_ROUTE")
    assert (returned.exchange, returned.routing_key) == ("amq.direct", "nowhere")
    head, data, _ = wire.expect_content()
    assert (head.properties.message_id, head.properties.headers, data) == ("m", {"k": "v"}, b"hi")
    assert wire.expect(commands.Basic.Ack).delivery_tag == 1


def test_pika_reports_an_unroutable_message(channel: BlockingChannel, name: Name) -> None:
    channel.confirm_delivery()
    with pytest.raises(UnroutableError) as refused:
        channel.basic_publish("", name(), b"lost", mandatory=True)
    assert [message.body for message in refused.value.messages] == [b"lost"]


def test_an_unroutable_message_that_is_not_mandatory_is_dropped(channel: BlockingChannel, name: Name) -> None:
    channel.confirm_delivery()
    channel.basic_publish("", name(), b"dropped")
    assert channel.is_open


def test_publishing_to_a_missing_exchange_is_not_confirmed(channel: BlockingChannel, name: Name) -> None:
    channel.confirm_delivery()
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.basic_publish(name(), "key", b"")
    assert refused.value.reply_code == 404


def test_properties_come_back(channel: BlockingChannel, queue: str) -> None:
    sent = pika.BasicProperties(
        content_type="text/csv",
        content_encoding="utf-8",
        headers={"n": 1, "big": 2**40, "text": "ü", "list": [1, "a"], "table": {"x": True}, "none": None},
        delivery_mode=2,
        priority=3,
        correlation_id="c",
        reply_to="r",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
    )
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"x", sent)
    got = get(channel, queue)
    assert got is not None
    assert got.properties == sent


def test_an_empty_message_is_a_message(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    publish(channel, queue, [b"", b"x", b""])
    assert bodies(channel, queue) == [b"", b"x", b""]


@pytest.mark.parametrize("size_bytes", [131_064, 131_065, 1_000_000, 8_000_000])
def test_large_messages_come_back_whole(channel: BlockingChannel, queue: str, size_bytes: int) -> None:
    sent = (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]
    channel.confirm_delivery()
    publish(channel, queue, [sent])
    assert bodies(channel, queue) == [sent]


@pytest.mark.parametrize("cut", ["publish", "header", "half of the body", "half a frame"])
def test_a_message_whose_publisher_dies_before_its_end_was_never_sent(
    wire: RawClient, raw: Callable[[], RawClient], name: Name, cut: str
) -> None:
    queue = name()
    wire.declare(queue)
    wire.publish(queue, b"whole")
    wire.send(commands.Basic.Publish(routing_key=queue))
    if cut != "publish":
        wire.send(header.ContentHeader(body_size=4))
    if cut == "half of the body":
        wire.send(body.ContentBody(b"ha"))
    if cut == "half a frame":
        wire.send_bytes(b"\x03\x00\x01\x00\x00\x00\x04ha")
    wire.socket.close()
    reader = raw()
    reader.open()
    reader.channel()
    # The declare of another connection comes after what the dead one managed to send.
    reader.send(commands.Basic.Consume(queue=queue, consumer_tag="t", no_ack=True))
    reader.expect(commands.Basic.ConsumeOk)
    reader.expect(commands.Basic.Deliver)
    assert reader.expect_content()[1] == b"whole"
    assert reader.declare(queue).message_count == 0
