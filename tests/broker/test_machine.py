"""A model of one queue in lockstep with the broker: nothing is lost, doubled or out of order, prefetch is respected."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pamqp import commands

from .core_client import CoreClient, World

QUEUE = "q"
CHANNELS = 2


@dataclass
class Worker:
    """What a consumer's channel holds in the model: delivery tag to (number, redelivered)."""

    client: CoreClient
    prefetch: dict[int, int] = field(default_factory=dict)
    held: dict[int, dict[int, tuple[int, bool]]] = field(default_factory=dict)

    def holds(self) -> list[tuple[int, int]]:
        return [(channel, tag) for channel, tags in self.held.items() for tag in tags]


class QueueMachine(RuleBasedStateMachine):
    """Producers publish numbers, workers come and go and settle what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.producer = self.world.client()
        self.workers: list[Worker] = []
        self.published = 0
        self.done: set[int] = set()
        self.seen_before: set[int] = set()

    @initialize()
    def declare(self) -> None:
        self.producer.call(commands.Queue.Declare(queue=QUEUE))
        self.producer.call(commands.Confirm.Select())

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.producer.publish(QUEUE, b"%d" % self.published)
            self.published += 1
        acks = self.producer.methods()
        assert acks[-1].delivery_tag == self.published

    @precondition(lambda self: len(self.workers) < 3)
    @rule(prefetches=st.lists(st.integers(0, 3), min_size=1, max_size=CHANNELS))
    def start_worker(self, prefetches: list[int]) -> None:
        worker = Worker(self.world.client())
        self.workers.append(worker)
        for channel, prefetch in enumerate(prefetches, start=1):
            if channel > 1:
                worker.client.call(commands.Channel.Open(), channel)
            worker.client.call(commands.Basic.Qos(prefetch_count=prefetch), channel)
            worker.prefetch[channel] = prefetch
            worker.held[channel] = {}
        for channel in worker.held:
            worker.client.send(commands.Basic.Consume(queue=QUEUE, consumer_tag="t"), channel=channel)

    @precondition(lambda self: any(worker.holds() for worker in self.workers))
    @rule(data=st.data(), how=st.sampled_from(["ack", "drop", "requeue"]), many=st.booleans())
    def settle(self, data: st.DataObject, how: str, many: bool) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.holds()]))
        channel, tag = data.draw(st.sampled_from(worker.holds()))
        tags = [held for held in worker.held[channel] if held <= tag] if many else [tag]
        numbers = [worker.held[channel].pop(held)[0] for held in tags]
        if how == "ack":
            method: object = commands.Basic.Ack(tag, many)
        elif many:
            method = commands.Basic.Nack(tag, many, how == "requeue")
        else:
            method = commands.Basic.Reject(tag, how == "requeue")
        if how == "requeue":
            self.seen_before.update(numbers)
        else:
            self.done.update(numbers)
        worker.client.send(method, channel=channel)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), how=st.sampled_from(["lost", "close", "recover", "channel error", "garbage"]))
    def interrupt(self, data: st.DataObject, how: str) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        channels = [1] if how in ("recover", "channel error") else list(worker.held)
        for channel in channels:
            self.seen_before.update(number for number, _ in worker.held[channel].values())
            worker.held[channel] = {}
        if how == "recover":
            worker.client.send(commands.Basic.Recover(requeue=True))
        elif how == "channel error":
            worker.client.send(commands.Basic.Ack(10_000))
            # Its consumer is gone with it: the model has one channel less.
            del worker.held[1], worker.prefetch[1]
            worker.client.send(commands.Channel.CloseOk())
            self.receive(worker)
            if not worker.held:
                self.leave(worker, "lost")
            else:
                worker.client.call(commands.Channel.Open())
                worker.held[1], worker.prefetch[1] = {}, 1
                worker.client.send(commands.Basic.Qos(prefetch_count=1))
                worker.client.send(commands.Basic.Consume(queue=QUEUE, consumer_tag="t"))
        else:
            self.leave(worker, how)

    def leave(self, worker: Worker, how: str) -> None:
        self.workers.remove(worker)
        if how == "lost":
            worker.client.connection.lost(None, self.world.clock.now_s)
        elif how == "close":
            worker.client.send(commands.Connection.Close(200, "", 0, 0), channel=0)
        else:
            worker.client.feed(b"this is no frame")

    def receive(self, worker: Worker) -> None:
        for delivery in worker.client.deliveries():
            number = int(delivery.body)
            assert number not in self.done, f"{number} was delivered after it was settled"
            assert not self.holders(number), f"{number} was delivered twice at a time"
            assert delivery.redelivered == (number in self.seen_before)
            worker.held[delivery.channel][delivery.tag] = (number, delivery.redelivered)

    def holders(self, number: int) -> list[Worker]:
        return [
            worker
            for worker in self.workers
            for tags in worker.held.values()
            if number in [held for held, _ in tags.values()]
        ]

    @invariant()
    def nothing_is_lost_doubled_or_late(self) -> None:
        if not self.published:
            return
        for worker in self.workers:
            self.receive(worker)
        queue = self.world.vhost.queues[QUEUE]
        held = {number for worker in self.workers for tags in worker.held.values() for number, _ in tags.values()}
        ready = [int(entry.message.body) for entry in queue.ready]
        assert ready == sorted(set(range(self.published)) - self.done - held)
        assert queue.unacked == len(held)
        self.prefetch_is_respected_and_used(bool(ready))

    def prefetch_is_respected_and_used(self, ready: bool) -> None:
        for worker in self.workers:
            for channel, prefetch in worker.prefetch.items():
                count = len(worker.held[channel])
                assert not prefetch or count <= prefetch
                assert not ready or (prefetch and count == prefetch), "a consumer has room and messages wait"

    def teardown(self) -> None:
        for worker in list(self.workers):
            for tags in worker.held.values():
                self.seen_before.update(number for number, _ in tags.values())
            self.leave(worker, "lost")
        if not self.published:
            return
        last = self.world.client()
        last.send(commands.Basic.Consume(queue=QUEUE, consumer_tag="t", no_ack=True))
        rest = [int(delivery.body) for delivery in last.deliveries()]
        assert rest == sorted(set(range(self.published)) - self.done)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
