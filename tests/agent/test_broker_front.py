"""What the agent tells of the broker's queues, with a broker of this machine and a program that talks to it."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pika
import pytest

from chaoskit.agent import broker as front_module
from chaoskit.agent.broker import Broker
from chaoskit.agent.depths import Depths
from chaoskit.agent.messages import MessageStep, MessageSteps
from chaoskit.agent.peers import Peers
from chaoskit.broker.server import EmbeddedBroker
from chaoskit.proxy import Login

pytestmark = pytest.mark.timeout(60)
_DEADLINE_S = 20.0
_USER = "guest"


class _Told:
    """Events that were told, and a wait for them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def __call__(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, "at_s": time.monotonic(), **fields})
        self._news.set()

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first event that is like this."""
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                for event in self.events:
                    if condition(event):
                        return event
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def _embedded() -> AsyncIterator[EmbeddedBroker]:
    embedded = EmbeddedBroker({_USER: _USER})
    await embedded.start()
    try:
        yield embedded
    finally:
        await embedded.close()


@asynccontextmanager
async def _fronted(front: Broker) -> AsyncIterator[int]:
    """A port of this machine behind which the front is."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        async def accept() -> None:
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listening)
                await front._serve(connection)

        accepting = asyncio.ensure_future(accept())
        try:
            yield listening.getsockname()[1]
        finally:
            accepting.cancel()
            await front.close()


def _connect(port: int) -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(_USER, _USER)
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, credentials=credentials))


def _say(port: int, leave: threading.Event) -> None:
    """A program that sends all the time, and connects again at once when it must."""
    while not leave.is_set():
        with suppress(pika.exceptions.AMQPError):
            connection = _connect(port)
            channel = connection.channel()
            channel.queue_declare("q")
            while not leave.is_set():
                channel.basic_publish("", "q", b"1")
                connection.process_data_events(0.005)
            connection.close()


def _take_one(port: int, leave: threading.Event) -> None:
    """A program that sends a message, takes it, acknowledges it, and stays."""
    connection = _connect(port)
    channel = connection.channel()
    channel.queue_declare("q")
    channel.basic_publish("", "q", b"1")
    method, _, _ = next(iter(channel.consume("q", inactivity_timeout=_DEADLINE_S)))
    channel.basic_ack(method.delivery_tag)
    while not leave.is_set():
        connection.process_data_events(0.05)
    connection.close()


def test_the_end_of_a_delay_is_told_though_nothing_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with _embedded() as embedded:
            monkeypatch.setattr(front_module, "AMQP_PORT", embedded.port)
            told, leave = _Told(), threading.Event()
            front = Broker("127.0.0.1", [], Peers(), told, lambda decision, seen: None)
            last = MessageStep(0, "acked", "q", 1, target="q", kind="delay", seconds=0.5)
            front.begin(MessageSteps([last], lambda program: True))
            async with _fronted(front) as port:
                program = asyncio.ensure_future(asyncio.to_thread(_take_one, port, leave))
                try:
                    held = await told.until(lambda event: event["event"] == "depths" and event["held"])
                    free = await told.until(
                        lambda event: event["event"] == "depths" and event["at_s"] > held["at_s"] and not event["held"]
                    )
                    assert free["queues"] == {"q": [0, 0, 1]}
                finally:
                    leave.set()
                    await program

    asyncio.run(work())


def test_who_connects_while_a_run_is_made_anew_is_counted_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with _embedded() as embedded:
            monkeypatch.setattr(front_module, "AMQP_PORT", embedded.port)
            told, leave = _Told(), threading.Event()
            front = Broker("127.0.0.1", [], Peers(), told, lambda decision, seen: None)
            forget = Depths.forget

            async def forget_slowly(depths: Depths) -> None:
                told.events.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await told.until(lambda event: event["event"] == "message")
                await forget(depths)

            monkeypatch.setattr(Depths, "forget", forget_slowly)
            async with _fronted(front) as port:
                program = asyncio.ensure_future(asyncio.to_thread(_say, port, leave))
                try:
                    await told.until(lambda event: event["event"] == "message" and event["nth"] > 3)
                    await front.reset()
                    told.events.clear()
                    front.begin(MessageSteps([], lambda program: True))
                    again = await told.until(lambda event: event["event"] == "message")
                    assert again["nth"] == 1
                finally:
                    leave.set()
                    await program

    asyncio.run(work())


def test_after_a_connection_broke_nothing_is_told_before_the_broker_has_noticed() -> None:
    async def work() -> None:
        async with _embedded() as embedded:
            told = _Told()
            depths = Depths(("127.0.0.1", embedded.port), Counter, lambda now: told("depths"))
            depths.log_in_as(Login(_USER, _USER))
            depths.noticed("q")
            await told.until(lambda event: event["event"] == "depths")
            told.events.clear()
            before_s = time.monotonic()
            depths.disconnected()
            # As when a client connects again at once: the wait is for the broker, and is not shortened by that.
            depths.noticed("q")
            again = await told.until(lambda event: event["event"] == "depths")
            depths.close()
            assert again["at_s"] - before_s >= 0.15

    asyncio.run(work())


def test_a_failure_in_asking_for_depths_is_raised_in_the_loop() -> None:
    async def work() -> None:
        async with _embedded() as embedded:
            failures: asyncio.Queue[object] = asyncio.Queue()
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: failures.put_nowait(context["exception"]))

            def unacked() -> Any:
                raise KeyError("a bug")

            depths = Depths(("127.0.0.1", embedded.port), unacked, lambda now: None)
            depths.log_in_as(Login(_USER, _USER))
            depths.noticed("q")
            async with asyncio.timeout(_DEADLINE_S):
                assert repr(await failures.get()) == "KeyError('a bug')"
            depths.close()

    asyncio.run(work())
