"""Where messages go that a worker rejects, that expire or that do not fit, and what is written on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pika
import pytest
from pamqp import body, commands, header
from pika.adapters.blocking_connection import BlockingChannel

from .actions import Got, bodies, depth, get, publish, wait_for, wait_for_depth
from .raw_client import RawClient

Name = Callable[[], str]


def _queues(channel: BlockingChannel, name: Name, **arguments: Any) -> tuple[str, str]:
    """(a queue, the queue where its dead messages go through the default exchange)."""
    alive, dead = name(), name()
    channel.confirm_delivery()
    channel.queue_declare(dead)
    routing = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(alive, arguments=routing | {key.replace("_", "-"): value for key, value in arguments.items()})
    return alive, dead


def _take(channel: BlockingChannel, queue: str) -> Got:
    got = get(channel, queue)
    assert got is not None
    return got


def _deaths(got: Got) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (got.properties.headers or {})["x-death"]
    return found


@pytest.mark.parametrize("how", ["nack", "reject"])
def test_a_rejected_message_goes_to_the_dead_letter_exchange(channel: BlockingChannel, name: Name, how: str) -> None:
    alive, dead = _queues(channel, name)
    publish(channel, alive, [b"poison"], message_id="m", headers={"mine": 1})
    tag = _take(channel, alive).tag
    getattr(channel, f"basic_{how}")(tag, requeue=False)
    got = wait_for(channel, dead)
    assert (got.body, got.exchange, got.routing_key) == (b"poison", "", dead)
    assert (got.properties.message_id, got.redelivered) == ("m", False)
    headers = got.properties.headers or {}
    assert headers["mine"] == 1
    assert {key: headers[f"x-first-death-{key}"] for key in ("exchange", "queue", "reason")} == {
        "exchange": "",
        "queue": alive,
        "reason": "rejected",
    }
    death = headers["x-death"][0]
    assert abs(death.pop("time").timestamp() - time.time()) < 86_400
    assert death == {"count": 1, "reason": "rejected", "queue": alive, "exchange": "", "routing-keys": [alive]}


def test_an_expired_message_goes_there_without_its_expiration(channel: BlockingChannel, name: Name) -> None:
    alive, dead = _queues(channel, name)
    publish(channel, alive, [b"late"], expiration="10")
    got = wait_for(channel, dead)
    assert got.properties.expiration is None
    death = _deaths(got)[0]
    assert (death["reason"], death["queue"], death["original-expiration"]) == ("expired", alive, "10")


def test_a_queue_with_a_time_to_live_needs_no_expiration(channel: BlockingChannel, name: Name) -> None:
    alive, dead = _queues(channel, name, x_message_ttl=10)
    publish(channel, alive, [b"1", b"2"])
    wait_for_depth(channel, dead, 2)
    deaths = [_deaths(_take(channel, dead))[0] for _ in range(2)]
    assert [(death["reason"], "original-expiration" in death) for death in deaths] == [("expired", False)] * 2


def test_what_a_full_queue_drops_goes_there(channel: BlockingChannel, name: Name) -> None:
    alive, dead = _queues(channel, name, x_max_length=2)
    publish(channel, alive, [b"1", b"2", b"3"])
    got = wait_for(channel, dead)
    assert (got.body, _deaths(got)[0]["reason"]) == (b"1", "maxlen")
    assert bodies(channel, alive) == [b"2", b"3"]


def test_without_a_routing_key_the_message_keeps_its_own(channel: BlockingChannel, name: Name) -> None:
    alive, dead, exchange = name(), name(), name()
    channel.confirm_delivery()
    channel.exchange_declare(exchange, "direct")
    channel.queue_declare(dead)
    channel.queue_bind(dead, exchange, alive)
    channel.queue_declare(alive, arguments={"x-dead-letter-exchange": exchange})
    publish(channel, alive, [b"1"])
    channel.basic_nack(_take(channel, alive).tag, requeue=False)
    got = wait_for(channel, dead)
    assert (got.exchange, got.routing_key) == (exchange, alive)


def test_a_message_whose_dead_letter_exchange_is_missing_is_dropped(channel: BlockingChannel, name: Name) -> None:
    alive = name()
    channel.confirm_delivery()
    channel.queue_declare(alive, arguments={"x-dead-letter-exchange": name()})
    publish(channel, alive, [b"1"])
    channel.basic_nack(_take(channel, alive).tag, requeue=False)
    assert depth(channel, alive) == 0


def test_deaths_that_a_client_publishes_are_not_counted(
    channel: BlockingChannel, name: Name, version: tuple[int, ...]
) -> None:
    if version < (4, 0):
        pytest.skip("RabbitMQ reads x-death headers of clients until 3.13, and no more since 4.0")
    alive, dead = _queues(channel, name)
    publish(channel, alive, [b"again"])
    for _ in range(3):
        channel.basic_nack(_take(channel, alive).tag, requeue=False)
        got = wait_for(channel, dead)
        assert [(death["reason"], death["count"]) for death in _deaths(got)] == [("rejected", 1)]
        channel.basic_publish("", alive, got.body, got.properties)


def test_a_retry_queue_brings_rejected_messages_back(channel: BlockingChannel, name: Name) -> None:
    work, retry = name(), name()
    channel.confirm_delivery()
    channel.queue_declare(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry})
    back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 5}
    channel.queue_declare(retry, arguments=back)
    publish(channel, work, [b"try"])
    for round_trips in (1, 2):
        channel.basic_nack(_take(channel, work).tag, requeue=False)
        wait_for_depth(channel, work, 1)
        got = _take(channel, work)
        expected = [("expired", retry, round_trips), ("rejected", work, round_trips)]
        assert [(death["reason"], death["queue"], death["count"]) for death in _deaths(got)] == expected
        channel.basic_nack(got.tag, requeue=True)


def test_a_message_that_only_expires_does_not_go_round_in_circles(channel: BlockingChannel, name: Name) -> None:
    first, second = name(), name()
    channel.confirm_delivery()
    for queue, target, ttl_ms in ((first, second, 5), (second, first, 300)):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target, "x-message-ttl": ttl_ms}
        channel.queue_declare(queue, arguments=arguments)
    publish(channel, first, [b"round"])
    wait_for_depth(channel, second, 1)
    wait_for_depth(channel, second, 0)
    assert (depth(channel, first), depth(channel, second)) == (0, 0)


def test_requeueing_and_dying_connections_make_no_dead_letters(
    connect: Callable[[], pika.BlockingConnection], channel: BlockingChannel, name: Name
) -> None:
    alive, dead = _queues(channel, name)
    publish(channel, alive, [b"1"])
    channel.basic_nack(_take(channel, alive).tag, requeue=True)
    other = connect()
    _take(other.channel(), alive)
    other.close()
    wait_for_depth(channel, alive, 1)
    assert depth(channel, dead) == 0


def test_counts_are_sixty_four_bits_wide(wire: RawClient, name: Name) -> None:
    alive, dead = name(), name()
    wire.declare(dead)
    routing = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    wire.declare(alive, arguments=routing)
    wire.send(
        commands.Basic.Publish(routing_key=alive),
        header.ContentHeader(0, 1, commands.Basic.Properties(headers={"short": 300})),
        body.ContentBody(b"x"),
        commands.Basic.Get(queue=alive),
    )
    tag = wire.expect(commands.Basic.GetOk).delivery_tag or 0
    wire.expect_content()
    wire.send(commands.Basic.Reject(tag, False), commands.Basic.Consume(queue=dead, consumer_tag="t"))
    wire.expect(commands.Basic.ConsumeOk)
    wire.expect(commands.Basic.Deliver)
    raw = wire.receive_raw()
    assert b"\x05countl\x00\x00\x00\x00\x00\x00\x00\x01" in raw
    assert b"\x05shorts\x01\x2c" in raw
