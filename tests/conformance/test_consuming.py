"""Consumers: who gets what, how many at a time, and what is said when a subscription ends."""

from __future__ import annotations

from collections.abc import Callable

import pika
from pamqp import commands
from pika.adapters.blocking_connection import BlockingChannel

from .actions import Inbox, bodies, depth, get, publish
from .conftest import Wait
from .raw_client import RawClient

Connect = Callable[[], pika.BlockingConnection]
Name = Callable[[], str]
NUMBERS = [b"%d" % number for number in range(10)]


def test_a_consumer_gets_what_is_there_and_what_comes(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    publish(channel, queue, NUMBERS[:5])
    inbox = Inbox(channel, queue)
    publish(channel, queue, NUMBERS[5:])
    inbox.wait(10)
    assert inbox.bodies == NUMBERS
    assert [message.tag for message in inbox.messages] == list(range(1, 11))
    assert not any(message.redelivered for message in inbox.messages)


def test_a_delivery_says_where_it_was_published(channel: BlockingChannel, queue: str, name: Name) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, "a.#")
    channel.basic_publish(exchange, "a.b", b"1")
    message = Inbox(channel, queue).wait(1)[0]
    assert (message.exchange, message.routing_key) == (exchange, "a.b")


def test_consumers_are_served_in_turn(connect: Connect, channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    inboxes = [Inbox(connect().channel(), queue) for _ in range(3)]
    publish(channel, queue, [b"%d" % number for number in range(9)])
    for inbox in inboxes:
        inbox.wait(3)
    assert sorted(len(inbox.messages) for inbox in inboxes) == [3, 3, 3]
    assert sorted(body for inbox in inboxes for body in inbox.bodies) == NUMBERS[:9]
    assert all(inbox.bodies == sorted(inbox.bodies) for inbox in inboxes)


def test_prefetch_limits_each_consumer(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=2)
    first, second = Inbox(channel, queue), Inbox(channel, queue)
    publish(channel, queue, NUMBERS)
    first.wait(2)
    second.wait(2)
    assert (len(first.settle()), len(second.settle()), depth(channel, queue)) == (2, 2, 6)
    channel.basic_ack(first.messages[0].tag)
    assert (len(first.wait(3)), len(second.settle()), depth(channel, queue)) == (3, 2, 5)


def test_prefetch_of_the_channel_limits_all_its_consumers_together(wire: RawClient, name: Name) -> None:
    queue = name()
    wire.declare(queue)
    for number in NUMBERS:
        wire.publish(queue, number)
    wire.send(commands.Basic.Qos(prefetch_count=3, global_=True))
    wire.expect(commands.Basic.QosOk)
    for tag in ("a", "b"):
        wire.send(commands.Basic.Consume(queue=queue, consumer_tag=tag, nowait=True))
    for number in range(3):
        assert wire.expect(commands.Basic.Deliver).delivery_tag == number + 1
        wire.expect_content()
    assert wire.declare(queue).message_count == 7
    wire.send(commands.Basic.Ack(2, True))
    for number in range(3, 5):
        assert wire.expect(commands.Basic.Deliver).delivery_tag == number + 1
        wire.expect_content()
    assert wire.declare(queue).message_count == 5


def test_prefetch_applies_to_consumers_that_come_later(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    first = Inbox(channel, queue)
    channel.basic_qos(prefetch_count=1)
    publish(channel, queue, NUMBERS)
    assert len(first.wait(10)) == 10
    second = Inbox(channel, queue)
    publish(channel, queue, NUMBERS[:3])
    first.wait(11)
    assert len(second.wait(1)) == 1


def test_nacked_and_rejected_messages_make_room_for_the_next(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)
    inbox = Inbox(channel, queue)
    publish(channel, queue, NUMBERS[:3])
    channel.basic_nack(inbox.wait(1)[0].tag, requeue=False)
    channel.basic_reject(inbox.wait(2)[1].tag, requeue=False)
    inbox.wait(3)
    assert inbox.bodies == NUMBERS[:3]


def test_without_acknowledgements_prefetch_does_not_matter(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)
    inbox = Inbox(channel, queue, auto_ack=True)
    publish(channel, queue, NUMBERS)
    inbox.wait(10)
    channel.close()
    assert inbox.bodies == NUMBERS


def test_messages_to_a_consumer_that_acknowledges_nothing_are_gone(
    connect: Connect, channel: BlockingChannel, queue: str
) -> None:
    publish(channel, queue, NUMBERS)
    connection = connect()
    Inbox(connection.channel(), queue, auto_ack=True).wait(10)
    connection.close()
    assert depth(channel, queue) == 0


def test_a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_holds(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    inbox = Inbox(channel, queue)
    publish(channel, queue, [b"held"])
    tag = inbox.wait(1)[0].tag
    channel.basic_cancel(inbox.tag)
    publish(channel, queue, [b"ready"])
    assert depth(channel, queue) == 1
    channel.basic_ack(tag)
    assert bodies(channel, queue) == [b"ready"]


def test_cancelling_an_unknown_consumer_succeeds(wire: RawClient) -> None:
    wire.send(commands.Basic.Cancel(consumer_tag="nobody"))
    assert wire.expect(commands.Basic.CancelOk).consumer_tag == "nobody"


def test_the_broker_names_consumers_that_have_no_name(wire: RawClient) -> None:
    queue = wire.declare(exclusive=True).queue or ""
    tags = set()
    for _ in range(3):
        wire.send(commands.Basic.Consume(queue=queue))
        tags.add(wire.expect(commands.Basic.ConsumeOk).consumer_tag or "")
    assert len(tags) == 3
    assert all(tag.startswith("amq.ctag-") and len(tag) == 31 for tag in tags)


def test_a_consumer_is_told_when_its_queue_is_deleted(
    connect: Connect, channel: BlockingChannel, queue: str, wait_until: Wait
) -> None:
    cancelled: list[str] = []
    consumer = connect().channel()
    consumer.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = Inbox(consumer, queue).tag
    channel.queue_delete(queue)
    wait_until(consumer, lambda: bool(cancelled))
    assert cancelled == [tag]
    assert consumer.is_open


def test_a_client_that_does_not_know_cancel_notices_gets_none(raw: Callable[[], RawClient], name: Name) -> None:
    queue, client = name(), raw()
    client.start()
    client.send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest"), channel=0)
    client.expect(commands.Connection.Tune)
    client.tune(10, 131072, 0)
    client.send(commands.Connection.Open("/"), channel=0)
    client.expect(commands.Connection.OpenOk)
    client.channel()
    client.declare(queue)
    client.send(commands.Basic.Consume(queue=queue, consumer_tag="t"))
    client.expect(commands.Basic.ConsumeOk)
    client.send(commands.Queue.Delete(queue=queue))
    client.expect(commands.Queue.DeleteOk)
    assert client.declare(queue).consumer_count == 0


def test_an_exclusive_consumer_makes_room_when_it_leaves(channel: BlockingChannel, queue: str) -> None:
    channel.basic_cancel(Inbox(channel, queue, exclusive=True).tag)
    assert Inbox(channel, queue, exclusive=True).tag


def test_getting_reports_how_many_messages_are_left(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    publish(channel, queue, NUMBERS)
    method, _, body = channel.basic_get(queue)
    assert (method.message_count, method.redelivered, body) == (9, False, b"0")


def test_getting_from_an_empty_queue_gets_nothing(channel: BlockingChannel, queue: str) -> None:
    assert get(channel, queue) is None
