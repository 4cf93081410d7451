"""The broker is killed, or stopped in order, and starts again: what is durable is there, nothing else is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pika
import pika.exceptions
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from chaoskit.broker import EmbeddedBroker, QueueDepth

T = TypeVar("T")
DEADLINE_S = 20.0
ENDINGS = ("crash", "stop")
KEPT = pika.BasicProperties(delivery_mode=2, message_id="kept", headers={"n": 1})
LOST = pika.BasicProperties(delivery_mode=1)


def _run(work: Callable[[EmbeddedBroker], Awaitable[T]]) -> T:
    async def limited() -> T:
        broker = EmbeddedBroker()
        await broker.start()
        try:
            return await asyncio.wait_for(work(broker), DEADLINE_S)
        finally:
            await broker.close()

    return asyncio.run(limited())


async def _end(broker: EmbeddedBroker, how: str) -> None:
    if how == "crash":
        broker.crash()
    else:
        await broker.stop()


def _channel(broker: EmbeddedBroker) -> BlockingChannel:
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port)).channel()


def _fill(broker: EmbeddedBroker) -> BlockingChannel:
    """Two queues with three messages each, one of them delivered; one exchange of each kind. The channel stays open."""
    channel = _channel(broker)
    channel.confirm_delivery()
    for exchange, durable in (("lasting", True), ("passing", False)):
        channel.exchange_declare(exchange, "fanout", durable=durable)
    for queue, durable in (("durable", True), ("transient", False)):
        channel.queue_declare(queue, durable=durable)
        channel.queue_bind(queue, "lasting")
        for body, properties in ((b"1", KEPT), (b"2", LOST), (b"3", KEPT)):
            channel.basic_publish("", queue, body, properties)
        channel.basic_get(queue)
    return channel


def _bodies(broker: EmbeddedBroker, queue: str) -> list[tuple[bytes, bool]]:
    channel = _channel(broker)
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append((got[2], got[0].redelivered))
    return found


@pytest.mark.parametrize("how", ENDINGS)
def test_a_durable_queue_keeps_its_persistent_messages_in_their_order(how: str) -> None:
    async def work(broker: EmbeddedBroker) -> list[tuple[bytes, bool]]:
        await asyncio.to_thread(_fill, broker)
        await _end(broker, how)
        assert broker.queues() == {"durable": QueueDepth(2, 0, 0)}
        broker.restart()
        return await asyncio.to_thread(_bodies, broker, "durable")

    assert _run(work) == [(b"1", True), (b"3", False)]


@pytest.mark.parametrize("how", ENDINGS)
def test_durable_exchanges_and_their_bindings_to_durable_queues_are_there_again(how: str) -> None:
    def publish(broker: EmbeddedBroker) -> None:
        channel = _channel(broker)
        channel.confirm_delivery()
        channel.basic_publish("lasting", "", b"4", KEPT, mandatory=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):
            channel.exchange_declare("passing", "fanout", passive=True)

    async def work(broker: EmbeddedBroker) -> dict[str, QueueDepth]:
        await asyncio.to_thread(_fill, broker)
        await _end(broker, how)
        broker.restart()
        await asyncio.to_thread(publish, broker)
        return broker.queues()

    assert _run(work) == {"durable": QueueDepth(3, 0, 0)}


@pytest.mark.parametrize("how", ENDINGS)
def test_who_is_connected_learns_of_it_and_who_comes_is_reset_until_it_is_back(how: str) -> None:
    def ask(channel: BlockingChannel) -> str:
        try:
            # What has arrived is read first: a send on a connection that is broken by now would lose it.
            channel.connection.process_data_events(0)
            channel.queue_declare("durable", passive=True)
        except pika.exceptions.AMQPError as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    async def work(broker: EmbeddedBroker) -> str:
        channel = await asyncio.to_thread(_fill, broker)
        await _end(broker, how)
        assert broker.is_down
        said = await asyncio.to_thread(ask, channel)
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        port = broker.port
        broker.restart()
        assert broker.port == port
        await asyncio.to_thread(lambda: _channel(broker).connection.close())
        return said

    said = _run(work)
    assert ("CONNECTION_FORCED" in said) == (how == "stop")
    assert "ConnectionResetError" in said or how == "stop"


def test_a_message_with_no_word_on_its_delivery_mode_is_not_persistent() -> None:
    def publish(broker: EmbeddedBroker) -> None:
        channel = _channel(broker)
        channel.queue_declare("durable", durable=True)
        channel.confirm_delivery()
        for properties in (None, pika.BasicProperties(message_id="x"), pika.BasicProperties(delivery_mode=2)):
            channel.basic_publish("", "durable", b"", properties)

    async def work(broker: EmbeddedBroker) -> int:
        await asyncio.to_thread(publish, broker)
        broker.crash()
        return broker.queues()["durable"].ready

    assert _run(work) == 1
