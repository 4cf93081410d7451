"""What the proxy reports of real sessions between pika and a broker."""

from __future__ import annotations

import os
import threading

import pika
import pytest

from chaoskit.proxy.events import PREVIEW_BYTES


def test_a_message_is_seen_published_confirmed_delivered_and_acked_in_that_order(bench):
    queue = bench.queue()
    channel = bench.channel(bench.proxy().port)
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"body", pika.BasicProperties(message_id="id-1", headers={"h": [1, {}]}))
    method, _, _ = next(channel.consume(queue))
    channel.basic_ack(method.delivery_tag)
    bench.wait(lambda: len(bench.seen) == 4)
    assert [seen.kind for seen in bench.seen] == ["published", "confirmed", "delivered", "acked"]
    assert {(s.queue, s.nth, s.message_id, s.size_bytes, s.preview, s.program) for s in bench.seen} == {
        (queue, 1, "id-1", 4, b"body", "worker")
    }


def test_messages_are_numbered_over_all_proxies_of_the_pipeline(bench):
    queue = bench.queue()
    for program in ("runner-1", "runner-2", "runner-1"):
        bench.channel(bench.proxy(program).port).basic_publish("", queue, b"")
    bench.wait(lambda: len(bench.seen) == 3)
    assert sorted(seen.nth for seen in bench.seen) == [1, 2, 3]
    assert bench.counts.of("published", queue) == 3


def test_one_ack_of_many_messages_is_seen_once_for_each(bench):
    queue = bench.queue()
    channel = bench.channel(bench.proxy().port)
    for number in range(5):
        channel.basic_publish("", queue, b"%d" % number)
    deliveries = channel.consume(queue)
    tags = [next(deliveries)[0].delivery_tag for _ in range(5)]
    channel.basic_ack(tags[2], multiple=True)
    channel.basic_ack(0, multiple=True)
    bench.wait(lambda: len(bench.of("acked")) == 5)
    acked = bench.of("acked")
    assert [(seen.delivery_tag, seen.nth, seen.preview) for seen in acked] == [
        (tag, tag, b"%d" % (tag - 1)) for tag in tags
    ]
    assert all(seen.multiple for seen in acked)


def test_a_rejected_message_comes_back_as_redelivered(bench):
    queue = bench.queue()
    channel = bench.channel(bench.proxy().port)
    channel.basic_publish("", queue, b"x")
    deliveries = channel.consume(queue)
    channel.basic_nack(next(deliveries)[0].delivery_tag, requeue=True)
    channel.basic_reject(next(deliveries)[0].delivery_tag, requeue=False)
    bench.wait(lambda: len(bench.seen) == 5)
    assert [(seen.kind, seen.redelivered) for seen in bench.seen[1:]] == [
        ("delivered", False),
        ("nacked", False),
        ("delivered", True),
        ("rejected", True),
    ]


def test_a_message_that_is_fetched_counts_as_delivered(bench):
    queue = bench.queue()
    channel = bench.channel(bench.proxy().port)
    assert channel.basic_get(queue)[0] is None
    channel.basic_publish("", queue, b"x")
    bench.wait(lambda: bench.depth(queue) == 1)
    channel.basic_ack(channel.basic_get(queue)[0].delivery_tag)
    bench.wait(lambda: len(bench.seen) == 3)
    assert [(seen.kind, seen.queue) for seen in bench.seen] == [
        (kind, queue) for kind in ("published", "delivered", "acked")
    ]


def test_a_delivery_that_needs_no_ack_is_not_waited_for(bench):
    queue = bench.queue()
    channel = bench.channel(bench.proxy().port)
    channel.basic_publish("", queue, b"x")
    next(channel.consume(queue, auto_ack=True))
    channel.basic_ack(0, multiple=True)
    channel.basic_publish("", queue, b"y")
    bench.wait(lambda: len(bench.of("published")) == 2)
    assert not bench.of("acked")


def test_an_unroutable_message_is_seen_returned(bench):
    channel = bench.channel(bench.proxy().port)
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("amq.direct", "nobody", b"x", mandatory=True)
    returned = bench.of("returned")[0]
    assert (returned.queue, returned.preview) == ("amq.direct/nobody", b"x")


def test_a_message_to_an_exchange_is_seen_for_each_queue_that_another_program_bound(bench):
    exchange, queues = f"x-{bench.queue()}", sorted([bench.queue(), bench.queue()])
    worker = bench.channel(bench.proxy("worker").port)
    worker.exchange_declare(exchange, "topic", auto_delete=True)
    worker.queue_bind(queues[0], exchange, "a.*")
    worker.queue_bind(queues[1], exchange, "#")
    runner = bench.channel(bench.proxy("runner").port)
    for routing_key in ("a.b", "c"):
        runner.basic_publish(exchange, routing_key, b"x")
    bench.wait(lambda: len(bench.seen) == 3)
    assert [(seen.queue, seen.nth) for seen in bench.seen] == [(queues[0], 1), (queues[1], 1), (queues[1], 2)]
    worker.queue_unbind(queues[1], exchange, "#")
    runner.basic_publish(exchange, "c", b"x")
    bench.wait(lambda: len(bench.seen) == 4)
    assert bench.seen[-1].queue == f"{exchange}/c"


def test_names_that_the_broker_makes_up_are_learned_from_its_replies(bench):
    channel = bench.channel(bench.proxy().port)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", "amq.fanout")
    channel.basic_consume("", lambda *_: None)
    channel.basic_publish("amq.fanout", "", b"x")
    bench.wait(lambda: bool(bench.of("published")))
    channel.connection.process_data_events(1)
    assert [seen.queue for seen in bench.of("published", "delivered")] == [queue, queue]
    assert bench.topology.resolve("amq.fanout", "") == (queue,)
    channel.connection.close()
    bench.wait(lambda: bench.topology.resolve("amq.fanout", "") == ())


def test_the_queues_a_program_consumes_from_are_known_while_it_does(bench):
    proxy, first, second = bench.proxy(), bench.queue(), bench.queue()
    channel = bench.channel(proxy.port)
    assert proxy.consumers() == set()
    tag = channel.basic_consume(first, lambda *_: None)
    channel.connection.channel().basic_consume(second, lambda *_: None)
    assert proxy.consumers() == {first, second}
    channel.basic_cancel(tag)
    assert proxy.consumers() == {second}
    channel.connection.close()
    bench.wait(lambda: not proxy.connected)
    assert proxy.consumers() == set()
    assert [change.kind for change in bench.changes if change.detail == second] == ["consuming", "cancelled"]


def test_a_consumer_ends_with_its_queue_and_with_its_channel(bench):
    proxy, first, second = bench.proxy(), bench.queue(), bench.queue()
    connection = bench.connect(proxy.port)
    one, other = connection.channel(), connection.channel()
    one.basic_consume(first, lambda *_: None)
    other.basic_consume(second, lambda *_: None)
    bench.channel().queue_delete(first)
    bench.wait(lambda: proxy.consumers() == {second})
    other.close()
    bench.wait(lambda: proxy.consumers() == set())


def test_a_channel_number_that_is_used_again_starts_afresh(bench):
    queue = bench.queue()
    connection = bench.connect(bench.proxy().port)
    for body in (b"1", b"2"):
        channel = connection.channel(1)
        channel.confirm_delivery()
        channel.basic_publish("", queue, body)
        next(channel.consume(queue, auto_ack=True))
        channel.close()
    assert [(seen.delivery_tag, seen.preview) for seen in bench.of("confirmed")] == [(1, b"1"), (1, b"2")]


def test_a_channel_that_the_broker_closes_ends_with_its_error(bench):
    connection = bench.connect(bench.proxy().port)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        connection.channel().queue_declare("chaoskit-proxy-nowhere", passive=True)
    assert error.value.reply_code == 404
    queue = bench.queue()
    connection.channel().basic_publish("", queue, b"x")
    assert bench.contents(queue, 1) == [b"x"]


@pytest.mark.parametrize("size_bytes", [0, 1, 131_064, 131_065, 3_000_000])
def test_bodies_of_any_number_of_frames_arrive_whole(bench, size_bytes):
    queue, body = bench.queue(), os.urandom(size_bytes)
    bench.channel(bench.proxy("runner").port).basic_publish("", queue, body)
    channel = bench.channel(bench.proxy("worker").port)
    assert next(channel.consume(queue, auto_ack=True))[2] == body
    assert {(s.kind, s.size_bytes, s.preview) for s in bench.seen} == {
        (kind, size_bytes, body[:PREVIEW_BYTES]) for kind in ("published", "delivered")
    }


def test_a_message_that_is_too_large_to_hold_is_streamed(bench):
    queue, body = bench.queue(), os.urandom(400_000)
    channel = bench.channel(bench.proxy(hold_limit_bytes=100_000).port)
    channel.basic_publish("", queue, body)
    channel.basic_publish("", queue, b"small")
    deliveries = channel.consume(queue, auto_ack=True)
    assert [next(deliveries)[2] for _ in range(2)] == [body, b"small"]
    assert [(seen.size_bytes, seen.whole) for seen in bench.of("published")] == [(400_000, False), (5, True)]


def test_programs_that_publish_at_once_are_all_counted(bench):
    queue = bench.queue()
    ports = [bench.proxy(f"runner-{number}").port for number in range(3)]

    def publish(port):
        connection = pika.BlockingConnection(bench.parameters(port))
        channel = connection.channel()
        for _ in range(100):
            channel.basic_publish("", queue, b"x")
        connection.close()

    threads = [threading.Thread(target=publish, args=[port]) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.wait(lambda: len(bench.of("published")) == 300)
    assert sorted(seen.nth for seen in bench.of("published")) == list(range(1, 301))
    assert len(bench.contents(queue, 300)) == 300
