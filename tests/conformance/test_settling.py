"""ack, nack, reject, recover: what is gone, what comes back, where, and marked how."""

from __future__ import annotations

from collections.abc import Callable

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from .actions import Got, Inbox, bodies, depth, get, publish, wait_for_depth

Connect = Callable[[], pika.BlockingConnection]
NUMBERS = [b"%d" % number for number in range(6)]


@pytest.fixture
def held(channel: BlockingChannel, queue: str) -> list[Got]:
    """Six messages, all of them held by the channel."""
    channel.confirm_delivery()
    publish(channel, queue, NUMBERS)
    return [got for _ in NUMBERS if (got := get(channel, queue)) is not None]


def _all(channel: BlockingChannel, queue: str) -> list[tuple[bytes, bool]]:
    found = []
    while (got := get(channel, queue, auto_ack=True)) is not None:
        found.append((got.body, got.redelivered))
    return found


def _close(channel: BlockingChannel) -> None:
    channel.close()


def test_what_is_acknowledged_is_gone(connect: Connect, channel: BlockingChannel, queue: str, held: list[Got]) -> None:
    for got in held[:2]:
        channel.basic_ack(got.tag)
    channel.close()
    other = connect().channel()
    wait_for_depth(other, queue, 4)
    assert _all(other, queue) == [(body, True) for body in NUMBERS[2:]]


def test_many_are_acknowledged_at_once(connect: Connect, channel: BlockingChannel, queue: str, held: list[Got]) -> None:
    channel.basic_ack(held[3].tag, multiple=True)
    channel.close()
    other = connect().channel()
    wait_for_depth(other, queue, 2)
    assert bodies(other, queue) == NUMBERS[4:]


def test_tag_zero_acknowledges_everything(
    connect: Connect, channel: BlockingChannel, queue: str, held: list[Got]
) -> None:
    channel.basic_ack(0, multiple=True)
    channel.close()
    assert depth(connect().channel(), queue) == 0


def test_a_tag_is_settled_once(channel: BlockingChannel, queue: str, held: list[Got]) -> None:
    channel.basic_ack(held[0].tag)
    channel.basic_ack(held[0].tag)
    with pytest.raises(ChannelClosedByBroker) as refused:
        depth(channel, queue)
    assert refused.value.reply_text == "PRECONDITION_FAILED - unknown delivery tag 1"


def test_an_error_of_the_channel_returns_what_it_held(
    connect: Connect, channel: BlockingChannel, queue: str, held: list[Got]
) -> None:
    channel.basic_ack(99)
    with pytest.raises(ChannelClosedByBroker):
        depth(channel, queue)
    other = connect().channel()
    wait_for_depth(other, queue, 6)
    assert _all(other, queue) == [(body, True) for body in NUMBERS]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 2], [4]])
def test_requeued_messages_return_to_their_places_marked_as_redelivered(
    channel: BlockingChannel, queue: str, held: list[Got], order: list[int]
) -> None:
    publish(channel, queue, [b"new"])
    for index in order:
        channel.basic_nack(held[index].tag, requeue=True)
    expected = [(NUMBERS[index], True) for index in sorted(order)]
    assert _all(channel, queue) == [*expected, (b"new", False)]


def test_many_are_requeued_at_once(channel: BlockingChannel, queue: str, held: list[Got]) -> None:
    channel.basic_nack(held[2].tag, multiple=True, requeue=True)
    assert _all(channel, queue) == [(body, True) for body in NUMBERS[:3]]


def test_rejecting_requeues_or_drops(channel: BlockingChannel, queue: str, held: list[Got]) -> None:
    channel.basic_reject(held[1].tag, requeue=True)
    channel.basic_reject(held[0].tag, requeue=False)
    assert _all(channel, queue) == [(b"1", True)]


def test_what_is_nacked_without_requeue_is_gone(
    connect: Connect, channel: BlockingChannel, queue: str, held: list[Got]
) -> None:
    channel.basic_nack(held[5].tag, multiple=True, requeue=False)
    channel.close()
    assert depth(connect().channel(), queue) == 0


def test_recover_requeues_everything_that_the_channel_holds(
    channel: BlockingChannel, queue: str, held: list[Got]
) -> None:
    channel.basic_ack(held[0].tag)
    channel.basic_recover(requeue=True)
    assert _all(channel, queue) == [(body, True) for body in NUMBERS[1:]]


@pytest.mark.parametrize("end", [_close, lambda channel: channel.connection.close()], ids=["channel", "connection"])
def test_what_a_closed_channel_held_returns_in_order(
    connect: Connect, channel: BlockingChannel, queue: str, held: list[Got], end: Callable[[BlockingChannel], None]
) -> None:
    other = connect().channel()
    publish(channel, queue, [b"new"])
    channel.basic_ack(held[1].tag)
    end(channel)
    wait_for_depth(other, queue, 6)
    expected = [(body, True) for body in NUMBERS if body != b"1"]
    assert _all(other, queue) == [*expected, (b"new", False)]


def test_a_requeued_message_goes_to_the_next_consumer_in_turn(
    connect: Connect, channel: BlockingChannel, queue: str
) -> None:
    channel.confirm_delivery()
    first, second = Inbox(connect().channel(), queue), Inbox(connect().channel(), queue)
    publish(channel, queue, [b"hot"])
    first.wait(1)
    first.channel.basic_nack(first.messages[0].tag, requeue=True)
    second.wait(1)
    assert (second.bodies, second.messages[0].redelivered) == ([b"hot"], True)


def test_delivery_tags_count_for_each_channel(connect: Connect, channel: BlockingChannel, queue: str) -> None:
    channel.confirm_delivery()
    publish(channel, queue, NUMBERS)
    connection = connect()
    channels = [connection.channel(), connection.channel()]
    tags = [(get(one, queue), get(two, queue)) for one, two in [channels] * 3]
    assert [(one.tag, two.tag) for one, two in tags if one and two] == [(1, 1), (2, 2), (3, 3)]
