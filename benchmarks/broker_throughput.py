"""Messages a second through pika on the embedded broker, beside RabbitMQ when CHAOSKIT_AMQP_URL names one.

    python benchmarks/broker_throughput.py [--messages N] [--size BYTES] [--rounds N]

The embedded broker runs in a process of its own here, so that both brokers compete with the client for the processors
in the same way. The rounds of the two brokers alternate, and the best round of each counts. Queues are not durable and
messages not persistent: what the bundled scenarios use.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

import pika
from pika.adapters.blocking_connection import BlockingChannel

from chaoskit.broker import EmbeddedBroker

QUEUE = "chaoskit-benchmark"
PREFETCH = 100


def confirmed(channel: BlockingChannel, bodies: list[bytes]) -> None:
    """Publish, each message waiting for its confirm."""
    channel.confirm_delivery()
    for body in bodies:
        channel.basic_publish("", QUEUE, body, mandatory=True)


def unconfirmed(channel: BlockingChannel, bodies: list[bytes]) -> None:
    """Publish without confirms, then wait until all messages have arrived."""
    for body in bodies:
        channel.basic_publish("", QUEUE, body)
    while channel.queue_declare(QUEUE, passive=True).method.message_count < len(bodies):
        channel.connection.process_data_events(0)


def consumed(channel: BlockingChannel, count: int) -> None:
    """Consume, each message acknowledged by itself."""
    channel.basic_qos(prefetch_count=PREFETCH)
    for method, _, _ in channel.consume(QUEUE):
        channel.basic_ack(method.delivery_tag)
        if method.delivery_tag == count:
            break
    channel.cancel()


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def measure(parameters: pika.connection.Parameters, count: int, size_bytes: int) -> dict[str, float]:
    """Messages a second of each step, in one round."""
    bodies = [b"x" * size_bytes] * count
    rates = {}
    steps = {"publish, no confirms": unconfirmed, "publish + confirm": confirmed}
    with pika.BlockingConnection(parameters) as connection:
        for name, publish in steps.items():
            channel = connection.channel()
            channel.queue_delete(QUEUE)
            channel.queue_declare(QUEUE)
            publish_s = timed(partial(publish, channel, bodies))
            consume_s = timed(partial(consumed, channel, count))
            rates[name] = count / publish_s
            rates["consume + ack"] = count / consume_s
            rates[f"{name} + consume + ack"] = count / (publish_s + consume_s)
            channel.queue_delete(QUEUE)
    return rates


def serve(ready: Connection) -> None:
    """An embedded broker until the other end of the pipe is closed."""

    async def run() -> None:
        broker = EmbeddedBroker()
        started_s = time.perf_counter()
        await broker.start()
        ready.send((broker.port, time.perf_counter() - started_s))
        closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(ready.fileno(), closed.set)
        await closed.wait()
        await broker.close()

    asyncio.run(run())


def report(best: dict[str, dict[str, float]]) -> None:
    """A table, and the ratio when there are two brokers."""
    brokers = list(best)
    print(f"{'messages a second (best round)':44}" + "".join(f"{name:>12}" for name in brokers) + "       ratio")
    for step in best[brokers[0]]:
        rates = [best[name][step] for name in brokers]
        ratio = f"{rates[0] / rates[1]:12.2f}" if len(rates) == 2 else " " * 12
        print(f"{step:44}" + "".join(f"{rate:12,.0f}" for rate in rates) + ratio)
    if len(brokers) == 1:
        print("CHAOSKIT_AMQP_URL is not set: no RabbitMQ to compare with.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--size", type=int, default=200, help="bytes of a message")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(there,))
    process.start()
    try:
        port, start_s = here.recv()
        print(
            f"embedded broker started in {start_s * 1000:.1f} ms; {options.messages} messages of {options.size} bytes"
        )
        targets: dict[str, pika.connection.Parameters] = {"embedded": pika.ConnectionParameters("127.0.0.1", port)}
        if url := os.environ.get("CHAOSKIT_AMQP_URL"):
            targets["rabbitmq"] = pika.URLParameters(url)
        best: dict[str, dict[str, float]] = {name: {} for name in targets}
        for _ in range(options.rounds):
            for name, parameters in targets.items():
                for step, rate in measure(parameters, options.messages, options.size).items():
                    best[name][step] = max(rate, best[name].get(step, 0.0))
        report(best)
    finally:
        here.send("stop")
        process.join(10)


if __name__ == "__main__":
    main()
