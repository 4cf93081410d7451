"""Queues, exchanges and bindings: what is declared, where messages go, what disappears by itself."""

from __future__ import annotations

from collections.abc import Callable

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from .actions import Inbox, bodies, publish, wait_for_depth

Connect = Callable[[], pika.BlockingConnection]
Name = Callable[[], str]


def _exists(connect: Connect, queue: str) -> bool:
    try:
        connect().channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker as error:
        assert error.reply_code == 404
        return False
    return True


def _send(channel: BlockingChannel, exchange: str, *keys: str) -> None:
    channel.confirm_delivery()
    for key in keys:
        channel.basic_publish(exchange, key, key.encode())


def test_a_queue_reports_its_messages_and_consumers(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)
    publish(channel, queue, [b"1", b"2", b"3"])
    Inbox(channel, queue).wait(1)
    answer = channel.queue_declare(queue, passive=True).method
    assert (answer.queue, answer.message_count, answer.consumer_count) == (queue, 2, 1)


def test_a_queue_may_be_declared_again_the_same_way(channel: BlockingChannel, name: Name) -> None:
    used = name()
    options = {"durable": True, "arguments": {"x-message-ttl": 60000, "x-max-length": 10, "x-anything": "else"}}
    for _ in range(2):
        assert channel.queue_declare(used, **options).method.queue == used


def test_an_argument_that_the_broker_does_not_know_is_not_compared(channel: BlockingChannel, name: Name) -> None:
    used = name()
    channel.queue_declare(used, arguments={"x-anything": 1})
    assert channel.queue_declare(used, arguments={"x-anything": 2}).method.queue == used


def test_the_classic_type_is_the_default_type(channel: BlockingChannel, name: Name) -> None:
    used = name()
    channel.queue_declare(used)
    assert channel.queue_declare(used, arguments={"x-queue-type": "classic"}).method.queue == used


def test_the_broker_names_queues_that_have_no_name(channel: BlockingChannel) -> None:
    names = {channel.queue_declare("", exclusive=True).method.queue for _ in range(5)}
    assert len(names) == 5
    assert all(queue.startswith("amq.gen-") and len(queue) == 30 for queue in names)


def test_an_empty_name_means_the_queue_declared_last(channel: BlockingChannel, name: Name) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "direct")
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", exchange, "")
    _send(channel, exchange, queue)
    assert bodies(channel, "") == [queue.encode()]


@pytest.mark.parametrize("odd", ["with space", "slash/colon:at@", "ünïcödé", "%percent'quote\"", "x" * 200])
def test_names_may_hold_any_text(channel: BlockingChannel, name: Name, odd: str) -> None:
    used = f"{name()}-{odd}"
    assert channel.queue_declare(used, exclusive=True).method.queue == used
    channel.confirm_delivery()
    publish(channel, used, [b"1"])
    inbox = Inbox(channel, used)
    assert inbox.wait(1)[0].routing_key == used


def test_purging_drops_what_is_ready_and_keeps_what_is_held(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    publish(channel, queue, [b"1", b"2", b"3"])
    held, _, _ = channel.basic_get(queue)
    assert channel.queue_purge(queue).method.message_count == 2
    channel.basic_nack(held.delivery_tag, requeue=True)
    assert bodies(channel, queue) == [b"1"]


def test_deleting_a_queue_reports_its_messages_and_deletes_its_bindings(
    channel: BlockingChannel, queue: str, name: Name
) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(queue, exchange)
    _send(channel, exchange, "a", "b")
    assert channel.queue_delete(queue).method.message_count == 2
    channel.queue_declare(queue)
    _send(channel, exchange, "c")
    assert bodies(channel, queue) == []


def test_deleting_what_is_not_there_succeeds(channel: BlockingChannel, name: Name) -> None:
    assert channel.queue_delete(name()).method.message_count == 0
    channel.exchange_delete(name())
    assert channel.is_open


def test_acknowledging_messages_of_a_deleted_queue_is_fine(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    publish(channel, queue, [b"1", b"2"])
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(2)]
    channel.queue_delete(queue)
    channel.basic_ack(tags[0])
    channel.basic_nack(tags[1], requeue=True)
    assert channel.queue_declare(queue).method.message_count == 0


def test_an_auto_delete_queue_lives_until_its_last_consumer_leaves(
    connect: Connect, channel: BlockingChannel, name: Name
) -> None:
    used = name()
    channel.queue_declare(used, auto_delete=True)
    first, second = Inbox(channel, used), Inbox(channel, used)
    channel.basic_cancel(first.tag)
    assert _exists(connect, used)
    channel.basic_cancel(second.tag)
    assert not _exists(connect, used)


def test_an_auto_delete_queue_without_a_consumer_stays(connect: Connect, name: Name) -> None:
    used, connection = name(), connect()
    connection.channel().queue_declare(used, auto_delete=True)
    connection.close()
    assert _exists(connect, used)


def test_an_auto_delete_exchange_goes_with_its_last_binding(channel: BlockingChannel, queue: str, name: Name) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    channel.queue_bind(queue, exchange, "a")
    channel.queue_bind(queue, exchange, "b")
    channel.queue_unbind(queue, exchange, "a")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_unbind(queue, exchange, "b")
    with pytest.raises(ChannelClosedByBroker):
        channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize("exchange", ["amq.direct", "amq.fanout", "amq.topic"])
def test_exchanges_of_the_standard_are_there(channel: BlockingChannel, queue: str, exchange: str) -> None:
    channel.exchange_declare(exchange, exchange.removeprefix("amq."), durable=True)
    channel.queue_bind(queue, exchange, queue)
    _send(channel, exchange, queue)
    assert bodies(channel, queue) == [queue.encode()]


def test_the_default_exchange_reaches_every_queue_by_its_name(channel: BlockingChannel, queue: str) -> None:
    _send(channel, "", queue, f"{queue}-other")
    assert bodies(channel, queue) == [queue.encode()]


def test_a_direct_exchange_matches_the_whole_key(channel: BlockingChannel, queue: str, name: Name) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "direct")
    for key in ("a", "b", "*.c"):
        channel.queue_bind(queue, exchange, key)
    _send(channel, exchange, "a", "b", "c", "x.c", "", "A", "*.c")
    assert bodies(channel, queue) == [b"a", b"b", b"*.c"]


def test_a_fanout_exchange_copies_to_every_queue_once(channel: BlockingChannel, queue: str, name: Name) -> None:
    exchange, other = name(), name()
    channel.exchange_declare(exchange, "fanout")
    channel.queue_declare(other)
    for used, key in ((queue, "x"), (queue, "y"), (other, "")):
        channel.queue_bind(used, exchange, key)
    _send(channel, exchange, "z")
    assert (bodies(channel, queue), bodies(channel, other)) == ([b"z"], [b"z"])


TOPICS = {
    "a.b.c": ["a.b.c"],
    "a.*.c": ["a.b.c", "a.x.c", "a..c"],
    "a.#": ["a.b.c", "a.x.c", "a..c", "a", "a.b"],
    "#": ["a.b.c", "a.x.c", "a..c", "a", "a.b", "b", "", "."],
    "*": ["a", "b"],
    "": [""],
    "#.c": ["a.b.c", "a.x.c", "a..c"],
    "#.b.#": ["a.b.c", "a.b", "b"],
    "*.#.c": ["a.b.c", "a.x.c", "a..c"],
    "*.*": ["a.b", "."],
    "#.#": ["a.b.c", "a.x.c", "a..c", "a", "a.b", "b", "", "."],
}
KEYS = ["a.b.c", "a.x.c", "a..c", "a", "a.b", "b", "", "."]


@pytest.mark.parametrize("pattern", TOPICS)
def test_a_topic_exchange_matches_words(channel: BlockingChannel, queue: str, name: Name, pattern: str) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "topic")
    channel.queue_bind(queue, exchange, pattern)
    _send(channel, exchange, *KEYS)
    # An empty word is a word, and the empty key has no words.
    assert sorted(bodies(channel, queue)) == sorted(key.encode() for key in TOPICS[pattern])


def test_a_queue_bound_twice_gets_one_copy_until_both_bindings_are_gone(
    channel: BlockingChannel, queue: str, name: Name
) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "topic")
    for pattern in ("a.*", "*.b", "a.*"):
        channel.queue_bind(queue, exchange, pattern)
    _send(channel, exchange, "a.b")
    channel.queue_unbind(queue, exchange, "a.*")
    _send(channel, exchange, "a.b", "a.c")
    channel.queue_unbind(queue, exchange, "*.b")
    _send(channel, exchange, "a.b")
    assert bodies(channel, queue) == [b"a.b", b"a.b"]


def test_unbinding_what_is_not_bound_succeeds(channel: BlockingChannel, queue: str, name: Name) -> None:
    exchange = name()
    channel.exchange_declare(exchange, "direct")
    channel.queue_unbind(queue, exchange, "never bound")
    channel.queue_unbind(queue, name(), "no exchange")
    channel.queue_unbind(name(), exchange, "no queue")
    assert channel.is_open


def test_a_queue_drops_its_oldest_message_when_it_is_full(channel: BlockingChannel, name: Name) -> None:
    used = name()
    channel.confirm_delivery()
    channel.queue_declare(used, arguments={"x-max-length": 3})
    publish(channel, used, [b"%d" % number for number in range(5)])
    assert bodies(channel, used) == [b"2", b"3", b"4"]


def test_held_messages_do_not_count_for_the_length(channel: BlockingChannel, name: Name) -> None:
    used = name()
    channel.confirm_delivery()
    channel.queue_declare(used, arguments={"x-max-length": 1})
    inbox = Inbox(channel, used)
    publish(channel, used, [b"1", b"2", b"3"])
    inbox.wait(3)
    assert inbox.bodies == [b"1", b"2", b"3"]


def test_messages_expire_by_the_shorter_of_the_two_times(channel: BlockingChannel, name: Name) -> None:
    used = name()
    channel.confirm_delivery()
    channel.queue_declare(used, arguments={"x-message-ttl": 60_000})
    publish(channel, used, [b"short"], expiration="20")
    publish(channel, used, [b"long"], expiration="90000")
    wait_for_depth(channel, used, 1)
    assert bodies(channel, used) == [b"long"]


def test_a_message_that_expires_at_once_reaches_only_a_waiting_consumer(channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    publish(channel, queue, [b"nobody waits"], expiration="0")
    inbox = Inbox(channel, queue)
    publish(channel, queue, [b"somebody waits"], expiration="0")
    inbox.wait(1)
    assert inbox.bodies == [b"somebody waits"]
