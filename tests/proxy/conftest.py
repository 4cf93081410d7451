"""A running broker, proxies in one event loop on a thread of its own, and pika clients on the test's thread.

The broker is the embedded one, or the one of CHAOSKIT_AMQP_URL: the same tests run on RabbitMQ.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple, TypeVar

import pika
import pytest

from chaoskit.broker.server import EmbeddedBroker
from chaoskit.proxy import FORWARD, Action, Change, Counts, Injector, Proxy, Seen, Topology

T = TypeVar("T")
LIMIT_S = 10.0


class Upstream(NamedTuple):
    host: str
    port: int
    user: str
    password: str
    embedded: bool


class Bench:
    """Proxies that share counts, topology and injector; everything they report; and pika connections."""

    def __init__(self, upstream: Upstream, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.upstream = upstream
        self.call = call
        self.seen: list[Seen] = []
        self.changes: list[Change] = []
        self.answer: Callable[[Seen], Action] = lambda seen: FORWARD
        self.counts, self.topology = Counts(), Topology()
        self._news = threading.Condition()
        self._connections: list[pika.BlockingConnection] = []
        self._proxies: list[Proxy] = []
        self._queues: list[str] = []
        self.injector = self.new_injector()

    def new_injector(self, **changed: Any) -> Injector:
        host, port, user, password, _ = self.upstream
        options: dict[str, Any] = {"user": user, "password": password, "on_change": self.on_change} | changed
        return Injector((host, port), self.on_message, counts=self.counts, topology=self.topology, **options)

    def on_message(self, seen: Seen) -> Action:
        with self._news:
            self.seen.append(seen)
            self._news.notify_all()
        return self.answer(seen)

    def on_change(self, change: Change) -> None:
        with self._news:
            self.changes.append(change)
            self._news.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        # Evaluated without the lock, as a condition may talk to the broker and the loop needs the lock for that; not
        # every condition comes with news, so that it is also looked at from time to time.
        while not condition():
            assert time.monotonic() < deadline, (self.seen, self.changes)
            with self._news:
                self._news.wait(0.02)

    def proxy(self, program: str = "worker", **options: Any) -> Proxy:
        address = options.pop("upstream", (self.upstream.host, self.upstream.port))
        shared = {"counts": self.counts, "topology": self.topology, "injector": self.injector}
        proxy = Proxy(program, address, self.on_message, on_change=self.on_change, **(shared | options))
        self.call(proxy.start())
        self._proxies.append(proxy)
        return proxy

    def parameters(self, port: int | None = None, **options: Any) -> pika.ConnectionParameters:
        host, own_port, user, password, _ = self.upstream
        login = pika.PlainCredentials(user, password)
        return pika.ConnectionParameters(host, port or own_port, credentials=login, **options)

    def connect(self, port: int | None = None, **options: Any) -> pika.BlockingConnection:
        connection = pika.BlockingConnection(self.parameters(port, **options))
        self._connections.append(connection)
        return connection

    def channel(self, port: int | None = None) -> Any:
        return self.connect(port).channel()

    def queue(self) -> str:
        name = f"chaoskit-proxy-{secrets.token_hex(6)}"
        self._queues.append(name)
        self.channel().queue_declare(name)
        return name

    def contents(self, queue: str, count: int) -> list[bytes]:
        """The next `count` bodies of a queue, taken past the proxies; waits for them."""
        bodies: list[bytes] = []
        channel = self.channel()
        for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=LIMIT_S):
            assert method is not None, f"{len(bodies)} of {count} messages came: {bodies}"
            bodies.append(body)
            if len(bodies) == count:
                break
        channel.cancel()
        return bodies

    def left(self, queue: str) -> list[bytes]:
        """All bodies that are in a queue now, taken past the proxies."""
        channel = self.channel()
        got = iter(lambda: channel.basic_get(queue, auto_ack=True), (None, None, None))
        return [body for _, _, body in got]

    def depth(self, queue: str) -> int:
        return int(self.channel().queue_declare(queue, passive=True).method.message_count)

    def of(self, *kinds: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.kind in kinds]

    def close(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()
        cleaner = pika.BlockingConnection(self.parameters())
        for queue in self._queues:
            cleaner.channel().queue_delete(queue)
        cleaner.close()
        self.call(self.injector.close())
        for proxy in self._proxies:
            self.call(proxy.close())


@pytest.fixture
def call() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs a coroutine in an event loop on a thread; the test fails when the loop reports an error."""
    loop = asyncio.new_event_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(LIMIT_S)

    run.errors = errors  # type: ignore[attr-defined]
    yield run
    left = run(_other_tasks())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert not errors
    assert not left


async def _other_tasks() -> list[str]:
    return [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.fixture
def upstream(call: Callable[[Coroutine[Any, Any, Any]], Any]) -> Iterator[Upstream]:
    url = os.environ.get("CHAOSKIT_AMQP_URL")
    if url:
        given = pika.URLParameters(url)
        yield Upstream(given.host, given.port, given.credentials.username, given.credentials.password, False)
        return
    broker = EmbeddedBroker()
    call(broker.start())
    yield Upstream("127.0.0.1", broker.port, "guest", "guest", True)
    call(broker.close())


@pytest.fixture
def bench(upstream: Upstream, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> Iterator[Bench]:
    bench = Bench(upstream, call)
    yield bench
    bench.close()
