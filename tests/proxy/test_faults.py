"""What the proxy does to real sessions between pika and a broker when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pika
import pytest

from chaoskit.proxy import FORWARD, Cut, Delay, Drop, Duplicate


def at(kind, nth, action):
    """An answer that is `action` for the n-th original of a kind."""
    return lambda seen: action if (seen.kind, seen.nth, seen.injected) == (kind, nth, False) else FORWARD


def test_a_duplicate_is_published_with_every_property_and_confirms_are_untouched(bench):
    queue = bench.queue()
    bench.answer = at("published", 2, Duplicate(copies=2))
    channel = bench.channel(bench.proxy("runner").port)
    channel.confirm_delivery()
    properties = pika.BasicProperties(message_id="id", headers={"h": [1, {"x": True}]}, priority=3, type="t")
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", queue, body, properties)
    bench.call(bench.injector.drain())
    deliveries = bench.channel().consume(queue, auto_ack=True)
    got = [next(deliveries) for _ in range(5)]
    assert sorted(body for _, _, body in got) == [b"1", b"2", b"2", b"2", b"3"]
    assert all(found == properties for _, found, _ in got)
    assert [seen.delivery_tag for seen in bench.of("confirmed")] == [1, 2, 3]
    assert [change.detail for change in bench.changes if change.kind == "copy-sent"] == [queue, queue]
    assert not bench.injector.busy


def test_an_injected_copy_is_seen_and_does_not_shift_the_numbers_of_the_originals(bench):
    queue = bench.queue()
    bench.answer = at("published", 1, Duplicate())
    channel = bench.channel(bench.proxy("runner").port)
    channel.basic_publish("", queue, b"1")
    bench.wait(lambda: len(bench.seen) == 2)
    channel.basic_publish("", queue, b"2")
    bench.wait(lambda: len(bench.seen) == 3)
    assert [(seen.program, seen.nth, seen.injected) for seen in bench.of("published")] == [
        ("runner", 1, False),
        ("chaoskit", 1, True),
        ("runner", 2, False),
    ]


def test_a_late_duplicate_waits_until_it_is_asked_for(bench):
    queue = bench.queue()
    bench.answer = at("published", 1, Duplicate(late=True))
    channel = bench.channel(bench.proxy().port)
    channel.basic_publish("", queue, b"1")
    channel.basic_publish("", queue, b"2")
    assert bench.contents(queue, 2) == [b"1", b"2"]
    assert (bench.injector.late, bench.depth(queue)) == (1, 0)
    assert bench.call(bench.injector.send_late()) == 1
    assert (bench.injector.late, bench.depth(queue)) == (0, 1)
    assert bench.call(bench.injector.send_late()) == 0


def test_a_delivered_message_is_duplicated_into_its_queue_only(bench):
    first, second = bench.queue(), bench.queue()
    channel = bench.channel(bench.proxy().port)
    for queue in (first, second):
        channel.queue_bind(queue, "amq.fanout")
    bench.answer = at("delivered", 1, Duplicate())
    channel.basic_qos(prefetch_count=1)
    channel.basic_publish("amq.fanout", "", b"x")
    next(channel.consume(first))
    bench.wait(lambda: any(seen.injected for seen in bench.seen))
    bench.call(bench.injector.drain())
    assert bench.contents(first, 1) == [b"x"]
    assert bench.depth(second) == 1


def test_a_large_duplicate_is_cut_into_frames_again(bench):
    queue, body = bench.queue(), os.urandom(1_000_000)
    bench.answer = at("published", 1, Duplicate())
    bench.channel(bench.proxy().port).basic_publish("", queue, body)
    assert bench.contents(queue, 2) == [body, body]


@pytest.mark.parametrize("options", [{"password": "wrong"}, {"virtual_host": "/nowhere"}])
def test_a_copy_that_the_broker_does_not_take_is_reported_lost(bench, options):
    queue = bench.queue()
    bench.answer = at("published", 1, Duplicate())
    injector = bench.new_injector(**options)
    bench.channel(bench.proxy(injector=injector).port).basic_publish("", queue, b"x")
    bench.wait(lambda: any(change.kind == "copy-lost" for change in bench.changes))
    assert bench.contents(queue, 1) == [b"x"]
    bench.call(injector.close())


def test_a_copy_to_an_exchange_that_is_gone_is_reported_lost_and_the_next_one_arrives(bench):
    queue, exchange = bench.queue(), f"x-{bench.queue()}"
    bench.answer = lambda seen: Duplicate(late=True) if not seen.injected else FORWARD
    channel = bench.channel(bench.proxy().port)
    channel.exchange_declare(exchange, "fanout")
    channel.basic_publish(exchange, "", b"x")
    channel.exchange_delete(exchange)
    assert bench.call(bench.injector.send_late()) == 1
    assert "404" in next(change.detail for change in bench.changes if change.kind == "copy-lost")
    channel.basic_publish("", queue, b"y")
    bench.wait(lambda: bench.injector.late == 1)
    bench.call(bench.injector.send_late())
    assert bench.contents(queue, 2) == [b"y", b"y"]


def test_a_delayed_message_holds_its_direction_and_nothing_overtakes_it(bench):
    queue = bench.queue()
    bench.answer, proxy = at("published", 1, Delay(0.3)), bench.proxy()
    began = time.monotonic()
    channel = bench.channel(proxy.port)
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", queue, body)
    bench.wait(lambda: proxy.delaying)
    assert bench.contents(queue, 3) == [b"1", b"2", b"3"]
    assert time.monotonic() - began >= 0.3
    assert not proxy.delaying


def test_a_delayed_message_still_goes_on_when_its_program_is_gone(bench):
    queue, proxy = bench.queue(), bench.proxy()
    bench.answer = at("published", 1, Delay(0.2))
    channel = bench.channel(proxy.port)
    channel.basic_publish("", queue, b"1")
    channel.basic_publish("", queue, b"2")
    channel.connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
    assert bench.contents(queue, 2) == [b"1", b"2"]
    bench.wait(lambda: not proxy.connected)


@pytest.mark.parametrize(("before", "arrived"), [(True, 1), (False, 2)])
def test_a_cut_at_a_publish_lets_exactly_what_went_before_it_arrive(bench, before, arrived):
    queue, proxy = bench.queue(), bench.proxy()
    bench.answer = at("published", 2, Cut(before))
    channel = bench.channel(proxy.port)
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        for body in (b"1", b"2", b"3"):
            channel.basic_publish("", queue, body)
    assert bench.contents(queue, arrived) == [b"1", b"2"][:arrived]
    assert (bench.depth(queue), proxy.connected) == (0, False)
    bench.channel(proxy.port).basic_publish("", queue, b"again")
    assert bench.contents(queue, 1) == [b"again"]


def consume_until_closed(parameters, queue):
    """Every body that reaches a consumer; pika's blocking consumer drops what comes along with the end."""
    got = []

    def consume(channel):
        channel.basic_consume(queue, lambda _channel, _method, _properties, body: got.append(body))

    run_select_connection(parameters, consume)
    return got


def run_select_connection(parameters, on_channel):
    connection = pika.SelectConnection(
        parameters,
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_close_callback=lambda closed, _: closed.ioloop.stop(),
    )
    connection.ioloop.call_later(10, connection.ioloop.stop)
    connection.ioloop.start()


@pytest.mark.parametrize(("before", "came"), [(True, [b"1"]), (False, [b"1", b"2"])])
def test_a_cut_at_a_delivery_lets_the_program_have_what_went_before_it(bench, before, came):
    queue = bench.queue()
    for body in (b"1", b"2", b"3"):
        bench.channel().basic_publish("", queue, body)
    bench.wait(lambda: bench.depth(queue) == 3)
    bench.answer = at("delivered", 2, Cut(before))
    assert consume_until_closed(bench.parameters(bench.proxy().port), queue) == came
    assert bench.contents(queue, 3) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(("before", "left"), [(True, 1), (False, 0)])
def test_a_cut_at_an_ack_decides_whether_the_message_comes_again(bench, before, left):
    queue = bench.queue()
    bench.answer = at("acked", 1, Cut(before))
    channel = bench.channel(bench.proxy().port)
    channel.basic_publish("", queue, b"x")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        channel.basic_ack(next(channel.consume(queue))[0].delivery_tag)
        channel.queue_declare(queue, passive=True)
    bench.wait(lambda: bench.depth(queue) == left)


def test_a_message_whose_ack_is_dropped_comes_again(bench):
    queue = bench.queue()
    bench.answer = at("acked", 1, Drop())
    channel = bench.channel(bench.proxy().port)
    for body in (b"1", b"2"):
        channel.basic_publish("", queue, body)
    deliveries = channel.consume(queue)
    for _ in range(2):
        channel.basic_ack(next(deliveries)[0].delivery_tag)
    channel.connection.close()
    bench.wait(lambda: len(bench.of("acked")) == 2)
    assert bench.contents(queue, 1) == [b"1"]


def test_a_dropped_publish_does_not_arrive(bench):
    queue = bench.queue()
    bench.answer = at("published", 2, Drop())
    channel = bench.channel(bench.proxy().port)
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", queue, body)
    assert bench.contents(queue, 2) == [b"1", b"3"]


def test_a_dropped_publish_is_the_one_whose_confirm_is_missing(bench):
    queue, confirmed = bench.queue(), []
    bench.answer = at("published", 2, Drop())

    def publish(channel):
        def publish_all(_):
            for body in (b"1", b"2", b"3", b"4"):
                channel.basic_publish("", queue, body)

        channel.confirm_delivery(lambda frame: note(channel, frame.method), publish_all)

    def note(channel, method):
        confirmed.append((method.delivery_tag, method.multiple))
        if {tag for tag, _ in confirmed} == {1, 3, 4}:
            channel.connection.close()

    run_select_connection(bench.parameters(bench.proxy().port), publish)
    # A `multiple` of the broker's may never cover the tag of the message that it did not get.
    assert sorted(tag for tag, _ in confirmed) == [1, 3, 4]
    assert [multiple for tag, multiple in confirmed if tag > 2] == [False, False]


def test_cutting_everything_is_noticed_by_the_program_which_can_come_back(bench):
    proxy, queue = bench.proxy(), bench.queue()
    channel = bench.channel(proxy.port)
    channel.basic_consume(queue, lambda *_: None)
    bench.call(_cut(proxy))
    assert (proxy.connected, proxy.consumers()) == (False, set())
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        channel.queue_declare(queue, passive=True)
    bench.channel(proxy.port).basic_consume(queue, lambda *_: None)
    assert proxy.consumers() == {queue}


async def _cut(proxy):
    proxy.cut()


def test_a_callback_may_cut_its_own_proxy(bench):
    queue, proxy = bench.queue(), bench.proxy()

    def cut_at_second(seen):
        if seen.nth == 2:
            proxy.cut()
        return FORWARD

    bench.answer = cut_at_second
    channel = bench.channel(proxy.port)
    channel.basic_publish("", queue, b"1")
    bench.wait(lambda: bench.depth(queue) == 1)
    channel.basic_publish("", queue, b"2")
    bench.wait(lambda: bench.changes[-1].kind == "disconnected")
    assert bench.contents(queue, 1) == [b"1"]
    assert bench.depth(queue) == 0


def test_a_broker_that_is_not_there_is_reported_and_the_program_sees_its_connection_close(bench):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
        proxy = bench.proxy(upstream=address)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            bench.connect(proxy.port)
    bench.wait(lambda: bool(bench.changes))
    assert [change.kind for change in bench.changes] == ["refused"]
    assert str(address[1]) in bench.changes[0].detail


CONSUMER = """
import sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
for method, _, body in channel.consume(sys.argv[2]):
    print(body.decode(), flush=True)
    channel.basic_ack(method.delivery_tag)
"""
PUBLISHER = """
import os, signal, sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.basic_consume(sys.argv[2], lambda *_: None)
for number in range(50):
    channel.basic_publish("", sys.argv[3], b"%d" % number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def start(bench, program, port, *queues):
    user, password = bench.upstream.user, bench.upstream.password
    url = f"amqp://{user}:{password}@127.0.0.1:{port}/%2F"
    return subprocess.Popen([sys.executable, "-c", program, url, *queues], stdout=subprocess.PIPE, text=True)


def test_a_program_that_is_killed_at_a_delivery_has_not_got_it(bench):
    queue, proxy = bench.queue(), bench.proxy()
    for number in range(5):
        bench.channel().basic_publish("", queue, b"%d" % number)
    started = threading.Event()

    def kill_at_third(seen):
        if (seen.kind, seen.nth) == ("delivered", 3):
            assert started.wait(10)
            os.kill(process.pid, signal.SIGKILL)
        return FORWARD

    bench.answer = kill_at_third
    process = start(bench, CONSUMER, proxy.port, queue)
    started.set()
    output, _ = process.communicate(timeout=10)
    assert set(output.split()) <= {"0", "1"}
    bench.wait(lambda: not proxy.connected)
    left = [int(body) for body in bench.contents(queue, 5 - len(bench.of("acked")))]
    assert left[-3:] == [2, 3, 4]


def assert_arrived(bench, queue, bodies):
    """All of them, in order; with RabbitMQ as many as it kept, for it may lose what it read when a connection ends."""
    arrived = bench.contents(queue, len(bodies)) if bench.upstream.embedded else bench.left(queue)
    assert arrived == bodies[: len(arrived)]


def test_what_a_program_sent_before_it_was_killed_arrives(bench):
    idle, target, proxy = bench.queue(), bench.queue(), bench.proxy()
    start(bench, PUBLISHER, proxy.port, idle, target).communicate(timeout=10)
    bench.wait(lambda: bool(bench.changes) and not proxy._links)
    numbers = [b"%d" % number for number in range(50)]
    assert [seen.preview for seen in bench.of("published")] == numbers
    assert_arrived(bench, target, numbers)


def test_what_was_seen_of_a_program_that_died_with_unread_deliveries_arrives(bench):
    # The kernel resets such a connection and throws away what it had not transmitted; no peer ever gets that.
    fed, target, proxy = bench.queue(), bench.queue(), bench.proxy()
    channel = bench.channel()
    for _ in range(200):
        channel.basic_publish("", fed, os.urandom(10_000))
    bench.wait(lambda: bench.depth(fed) == 200)
    start(bench, PUBLISHER, proxy.port, fed, target).communicate(timeout=10)
    bench.wait(lambda: bool(bench.changes) and not proxy.connected and not proxy._links)
    numbers = [b"%d" % number for number in range(len(bench.of("published")))]
    assert [seen.preview for seen in bench.of("published")] == numbers != []
    assert_arrived(bench, target, numbers)


def test_a_copy_comes_right_behind_its_message_when_the_publisher_waits_for_confirms(bench):
    queue = bench.queue()
    bench.answer = lambda seen: Duplicate() if seen.kind == "published" and not seen.injected else FORWARD
    channel = bench.channel(bench.proxy("runner").port)
    channel.confirm_delivery()
    bodies = [str(number).encode() for number in range(20)]
    for body in bodies:
        channel.basic_publish("", queue, body)
    assert bench.contents(queue, 40) == [body for body in bodies for _ in range(2)]
