"""A running broker's address, and clients of it that are closed after the test.

The tests know a broker by its address alone. They run on the embedded broker, and on the one of CHAOSKIT_AMQP_URL
(amqp://guest:guest@127.0.0.1:5672/%2F) as well when that is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from chaoskit.broker import EmbeddedBroker

from .raw_client import RawClient

URL = os.environ.get("CHAOSKIT_AMQP_URL")
DEADLINE_S = 10.0


@dataclass(frozen=True)
class Address:
    """Where a broker listens and who may log in."""

    host: str
    port: int
    user: str = "guest"
    password: str = "guest"

    def parameters(self, **changed: Any) -> pika.ConnectionParameters:
        credentials = pika.PlainCredentials(self.user, self.password)
        options = {"credentials": credentials, "blocked_connection_timeout": DEADLINE_S} | changed
        return pika.ConnectionParameters(self.host, self.port, **options)


@pytest.fixture(scope="session")
def embedded_address() -> Iterator[Address]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    broker = EmbeddedBroker()
    asyncio.run_coroutine_threadsafe(broker.start(), loop).result(DEADLINE_S)
    yield Address("127.0.0.1", broker.port)
    asyncio.run_coroutine_threadsafe(broker.close(), loop).result(DEADLINE_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(DEADLINE_S)
    loop.close()


@pytest.fixture(params=["embedded", *(["rabbitmq"] if URL else [])])
def address(request: pytest.FixtureRequest) -> Address:
    if request.param == "embedded":
        found: Address = request.getfixturevalue("embedded_address")
        return found
    url = pika.URLParameters(URL)
    return Address(url.host, url.port, url.credentials.username, url.credentials.password)


@pytest.fixture
def connect(address: Address) -> Iterator[Callable[..., pika.BlockingConnection]]:
    """Open one more pika connection."""
    opened: list[pika.BlockingConnection] = []

    def open_connection(**options: Any) -> pika.BlockingConnection:
        opened.append(pika.BlockingConnection(address.parameters(**options)))
        return opened[-1]

    yield open_connection
    for connection in opened:
        with contextlib.suppress(AMQPError):
            connection.close()


@pytest.fixture
def channel(connect: Callable[..., pika.BlockingConnection]) -> BlockingChannel:
    return connect().channel()


@pytest.fixture
def name(address: Address) -> Iterator[Callable[[], str]]:
    """A name that no other test uses; queues and exchanges of that name are deleted afterwards."""
    names: list[str] = []

    def new_name() -> str:
        names.append(f"conformance-{secrets.token_hex(6)}")
        return names[-1]

    yield new_name
    with pika.BlockingConnection(address.parameters()) as connection:
        for used in names:
            with contextlib.suppress(AMQPError):
                connection.channel().queue_delete(used)
            with contextlib.suppress(AMQPError):
                connection.channel().exchange_delete(used)


@pytest.fixture
def queue(channel: BlockingChannel, name: Callable[[], str]) -> str:
    """A fresh queue."""
    declared = name()
    channel.queue_declare(declared)
    return declared


@pytest.fixture
def raw(address: Address) -> Iterator[Callable[[], RawClient]]:
    """Open one more socket, without any handshake."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(RawClient((address.host, address.port)))


@pytest.fixture
def version(raw: Callable[[], RawClient]) -> tuple[int, ...]:
    """The version of RabbitMQ whose behaviour is expected; the embedded broker follows 4."""
    properties = raw().start().server_properties
    assert isinstance(properties, dict)
    if properties["product"] != "RabbitMQ":
        return (4, 1)
    return tuple(int(part) for part in str(properties["version"]).split(".")[:2])


@pytest.fixture
def wire(raw: Callable[[], RawClient]) -> RawClient:
    """A raw client that is logged in and has channel 1."""
    client = raw()
    client.open()
    client.channel()
    return client


Wait = Callable[[BlockingChannel, Callable[[], bool]], None]


@pytest.fixture
def wait_until() -> Wait:
    """Serve a channel's connection until a condition holds."""

    def wait(channel: BlockingChannel, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, "the condition did not come true in time"
            channel.connection.process_data_events(0.01)

    return wait
