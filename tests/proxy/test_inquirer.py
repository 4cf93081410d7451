"""The inquirer against the embedded broker: depths as they are, refusals survived, queues deleted."""

import asyncio
from collections.abc import Awaitable, Callable

import pika
import pytest
from pamqp import base

from chaoskit.broker.server import EmbeddedBroker
from chaoskit.proxy import ClientError, Depth, Inquirer

DEADLINE_S = 10.0


def _with_broker(work: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        broker = EmbeddedBroker({"guest": "guest"})
        await broker.start()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await work(broker.port)
        finally:
            await broker.close()

    asyncio.run(run())


def _publish(port: int, queue: str, count: int) -> None:
    parameters = pika.ConnectionParameters("127.0.0.1", port)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue)
        for _ in range(count):
            channel.basic_publish("", queue, b"x")


def test_it_tells_how_many_messages_are_ready() -> None:
    async def work(port: int) -> None:
        await asyncio.to_thread(_publish, port, "q", 3)
        inquirer = await Inquirer.connect(("127.0.0.1", port), "guest", "guest", "/")
        assert await inquirer.depth("q") == Depth(3, 0)
        inquirer.close()

    _with_broker(work)


def test_a_queue_that_is_not_there_costs_no_more_than_its_channel() -> None:
    async def work(port: int) -> None:
        await asyncio.to_thread(_publish, port, "q", 1)
        inquirer = await Inquirer.connect(("127.0.0.1", port), "guest", "guest", "/")
        assert await inquirer.depth("nothing") is None
        assert await inquirer.depth("q") == Depth(1, 0)
        inquirer.close()

    _with_broker(work)


def test_a_deleted_queue_is_gone() -> None:
    async def work(port: int) -> None:
        await asyncio.to_thread(_publish, port, "q", 1)
        inquirer = await Inquirer.connect(("127.0.0.1", port), "guest", "guest", "/")
        await inquirer.delete_queue("q")
        assert await inquirer.depth("q") is None
        inquirer.close()

    _with_broker(work)


@pytest.mark.parametrize(
    ("codes", "said"), [((403, 0), ""), ((404, 403), ""), ((403, 403), "ACCESS_REFUSED"), ((405, 403), "")]
)
def test_a_queue_that_may_not_be_deleted_is_emptied_or_the_refusal_is_told(codes: tuple[int, int], said: str) -> None:
    """Of the two refusals 0 is none. The answers are made up: the embedded broker refuses nothing to a login."""

    async def work(port: int) -> None:
        inquirer = await Inquirer.connect(("127.0.0.1", port), "guest", "guest", "/")
        answers = iter(codes)

        async def ask(question: base.Frame) -> base.Frame | None:
            code = next(answers)
            inquirer._refusal = (code, "ACCESS_REFUSED")
            return None if code else question

        inquirer._ask = ask  # type: ignore[method-assign]
        assert await inquirer.delete_queue("q") == said
        inquirer.close()

    _with_broker(work)


def test_a_broker_that_goes_away_is_an_error_and_no_hang() -> None:
    async def work(port: int) -> None:
        inquirer = await Inquirer.connect(("127.0.0.1", port), "guest", "guest", "/")
        inquirer.close()
        with pytest.raises(ClientError):
            await inquirer.depth("q")

    _with_broker(work)


def test_a_wrong_password_is_said_in_the_brokers_words() -> None:
    async def work(port: int) -> None:
        with pytest.raises(ClientError):
            await Inquirer.connect(("127.0.0.1", port), "guest", "wrong", "/")

    _with_broker(work)
