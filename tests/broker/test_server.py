"""The broker as a server: starting, stopping, resetting, telling about changes, several in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pika
import pytest
from pamqp import commands, frame

from chaoskit.broker import EmbeddedBroker, QueueDepth

from .core_client import PROTOCOL_HEADER, content

T = TypeVar("T")
DEADLINE_S = 10.0
LOGIN = frame.marshal(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest"), 0)
TUNE = frame.marshal(commands.Connection.TuneOk(2047, 131072, 0), 0)
OPEN = frame.marshal(commands.Connection.Open("/"), 0) + frame.marshal(commands.Channel.Open(), 1)


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def limited() -> T:
        return await asyncio.wait_for(work(), DEADLINE_S)

    return asyncio.run(limited())


async def _send(broker: EmbeddedBroker, *methods: Any) -> asyncio.StreamWriter:
    """A client that has said everything up to these methods, and the broker has heard it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    # The answer to the last question comes after everything before it has happened.
    last = frame.marshal(commands.Channel.Flow(True), 1)
    writer.write(PROTOCOL_HEADER + LOGIN + TUNE + OPEN + b"".join(frame.marshal(item, 1) for item in methods) + last)
    await reader.readuntil(frame.marshal(commands.Channel.FlowOk(True), 1))
    return writer


async def _until(broker: EmbeddedBroker, condition: Callable[[], bool]) -> None:
    """Wait for `on_change` until the condition holds: no polling."""
    changed = asyncio.Event()
    broker.on_change = changed.set
    while not condition():
        await changed.wait()
        changed.clear()


def test_a_broker_starts_and_stops_in_milliseconds() -> None:
    async def work() -> float:
        started_s = time.perf_counter()
        for _ in range(50):
            broker = EmbeddedBroker()
            await broker.start()
            await broker.close()
        return (time.perf_counter() - started_s) / 50

    assert _run(work) < 0.05


def test_depths_count_ready_and_held_messages_and_consumers() -> None:
    async def work() -> dict[str, QueueDepth]:
        broker = EmbeddedBroker()
        await broker.start()
        messages = [item for number in range(5) for item in content("q", b"%d" % number)]
        await _send(broker, commands.Queue.Declare(queue="q"), *messages)
        await _send(broker, commands.Basic.Qos(prefetch_count=2), commands.Basic.Consume(queue="q"))
        depths = broker.queues()
        await broker.close()
        return depths

    assert _run(work) == {"q": QueueDepth(ready=3, unacked=2, consumers=1)}


def test_changes_are_told_without_polling() -> None:
    async def work() -> None:
        broker = EmbeddedBroker()
        await broker.start()
        await _send(broker, commands.Queue.Declare(queue="q"), *content("q", b"x"))
        consumer = await _send(broker, commands.Basic.Consume(queue="q"))
        assert broker.queues()["q"] == QueueDepth(0, 1, 1)
        consumer.write(frame.marshal(commands.Basic.Ack(1), 1))
        await _until(broker, lambda: broker.queues()["q"].unacked == 0)
        consumer.close()
        await _until(broker, lambda: broker.queues()["q"].consumers == 0)
        await broker.close()

    _run(work)


def test_an_expiring_message_is_a_change() -> None:
    async def work() -> None:
        broker = EmbeddedBroker()
        await broker.start()
        await _send(broker, commands.Queue.Declare(queue="q"), *content("q", b"x", expiration="30"))
        assert broker.queues()["q"].ready == 1
        await _until(broker, lambda: broker.queues()["q"].ready == 0)
        await broker.close()

    _run(work)


def test_a_reset_drops_everything_and_keeps_the_port() -> None:
    async def work() -> None:
        broker = EmbeddedBroker()
        await broker.start()
        port = broker.port
        for _ in range(20):
            await _send(
                broker,
                commands.Queue.Declare(queue="q", durable=True),
                commands.Exchange.Declare(exchange="x"),
                commands.Queue.Bind(queue="q", exchange="x"),
                commands.Basic.Consume(queue="q"),
                *content("q", b"x"),
            )
            broker.reset()
            assert broker.queues() == {}
            assert broker.port == port
            # A different queue of the same name, declared before the old sockets are gone, is not touched by them.
            await _send(broker, commands.Queue.Declare(queue="q"), *content("q", b"y"))
            await _until(broker, lambda: broker.connections == 1)
            assert broker.queues() == {"q": QueueDepth(1, 0, 0)}
            broker.reset()
        await _until(broker, lambda: broker.connections == 0)
        await broker.close()

    _run(work)


def test_closing_tells_clients_why_and_frees_the_port() -> None:
    async def work() -> bytes:
        broker = EmbeddedBroker()
        await broker.start()
        port = broker.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        flow = frame.marshal(commands.Channel.Flow(True), 1)
        writer.write(PROTOCOL_HEADER + LOGIN + TUNE + OPEN + flow)
        await reader.readuntil(frame.marshal(commands.Channel.FlowOk(True), 1))
        await broker.close()
        said = await reader.read()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        again = EmbeddedBroker()
        await again.start(port=port)
        assert again.port == port
        await again.close()
        return said

    assert b"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'" in _run(work)


def test_a_closed_broker_can_be_started_again_empty() -> None:
    async def work() -> None:
        broker = EmbeddedBroker()
        for _ in range(3):
            await broker.start()
            await _send(broker, commands.Queue.Declare(queue="q"), *content("q", b"x"))
            assert broker.queues()["q"].ready == 1
            await broker.close()
            assert broker.queues() == {}
        await broker.close()

    _run(work)


def test_one_broker_can_serve_several_loops_one_after_the_other() -> None:
    broker = EmbeddedBroker()

    async def work() -> int:
        await broker.start()
        await _send(broker, commands.Queue.Declare(queue="q"))
        count = len(broker.queues())
        await broker.close()
        return count

    assert [_run(work) for _ in range(2)] == [1, 1]


def test_a_reset_of_a_closed_broker_does_nothing() -> None:
    broker = EmbeddedBroker()

    async def work() -> None:
        await broker.start()
        await _send(broker, commands.Queue.Declare(queue="q"))
        await broker.close()

    _run(work)
    broker.reset()
    assert broker.queues() == {}


def test_a_broker_says_when_it_is_not_started_or_started_twice() -> None:
    async def work() -> None:
        broker = EmbeddedBroker()
        with pytest.raises(RuntimeError, match="not started"):
            _ = broker.port
        await broker.start()
        with pytest.raises(RuntimeError, match="started already"):
            await broker.start()
        with pytest.raises(OSError):
            await EmbeddedBroker().start(port=broker.port)
        await broker.close()

    _run(work)


def test_brokers_in_one_process_know_nothing_of_each_other() -> None:
    async def work() -> None:
        brokers = [EmbeddedBroker() for _ in range(5)]
        for number, broker in enumerate(brokers):
            await broker.start()
            await _send(broker, commands.Queue.Declare(queue=f"q{number}"))
        assert [list(broker.queues()) for broker in brokers] == [[f"q{number}"] for number in range(5)]
        for broker in brokers:
            await broker.close()

    _run(work)


def test_users_are_those_of_the_caller() -> None:
    async def work() -> None:
        broker = EmbeddedBroker({"worker": "s3cret", "other": ""})
        await broker.start()

        def log_in(user: str, password: str) -> None:
            credentials = pika.PlainCredentials(user, password)
            pika.BlockingConnection(
                pika.ConnectionParameters("127.0.0.1", broker.port, credentials=credentials)
            ).close()

        await asyncio.to_thread(log_in, "worker", "s3cret")
        await asyncio.to_thread(log_in, "other", "")
        for user, password in (("guest", "guest"), ("worker", ""), ("other", "s3cret")):
            with pytest.raises(pika.exceptions.ProbableAuthenticationError):
                await asyncio.to_thread(log_in, user, password)
        await broker.close()

    _run(work)


def test_abnormal_ends_are_remembered_with_their_reasons() -> None:
    async def work() -> list[str]:
        broker = EmbeddedBroker()
        await broker.start()
        writer = await _send(broker)
        writer.write(b"no frame begins like this")
        await _until(broker, lambda: broker.connections == 1)
        writer.close()
        (await _send(broker)).close()
        await _until(broker, lambda: broker.connections == 0)
        reader, polite = await asyncio.open_connection("127.0.0.1", broker.port)
        polite.write(PROTOCOL_HEADER + LOGIN + TUNE + OPEN)
        polite.write(frame.marshal(commands.Connection.Close(200, "", 0, 0), 0))
        await reader.read()
        await broker.close()
        return [incident.partition(": ")[2] for incident in broker.incidents]

    first, second = _run(work)
    assert first.startswith("FRAME_ERROR - type 110, all octets = <<>>: {frame_too_large,")
    assert second == "client closed the socket without connection.close"


def test_output_of_one_turn_is_written_at_once() -> None:
    async def work() -> int:
        broker = EmbeddedBroker()
        await broker.start()
        producer = await _send(broker, commands.Queue.Declare(queue="q"))
        _, consumer = await asyncio.open_connection("127.0.0.1", broker.port)
        consumer.write(PROTOCOL_HEADER + LOGIN + TUNE + OPEN + frame.marshal(commands.Basic.Consume(queue="q"), 1))
        await _until(broker, lambda: broker.queues()["q"].consumers == 1)
        messages = [item for number in range(100) for item in content("q", b"%d" % number)]
        producer.write(b"".join(frame.marshal(item, 1) for item in messages))
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1

        broker.on_change = count
        while broker._vhost.queues["q"].unacked < 100:
            await asyncio.sleep(0)
        await broker.close()
        return turns

    assert _run(work) <= 3
