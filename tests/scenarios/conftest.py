"""An embedded broker in a thread of its own, and the programs of the stateful scenario around it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from chaoskit.broker.server import EmbeddedBroker

from .programs import LIMIT_S, ROOT, Program

STATEFUL = ROOT / "scenarios" / "stateful"


class BrokerThread:
    """The embedded broker on a port that stays the same when it is stopped and started again."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._broker = EmbeddedBroker()
        self.port = 0
        self.start()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    def start(self) -> None:
        self._do(self._broker.start(port=self.port))
        self.port = self._broker.port

    def stop(self) -> None:
        self._do(self._broker.close())

    def end(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    @contextlib.contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            connection.close()


class Stateful:
    """The programs of scenarios/stateful on one broker and one data directory."""

    def __init__(self, broker: BrokerThread, data_dir: Path) -> None:
        self.broker, self.data_dir = broker, data_dir
        self._programs = contextlib.ExitStack()

    @property
    def metadata(self) -> Path:
        return self.data_dir / "metadata"

    def rejected(self) -> list[dict[str, Any]]:
        lines = (self.data_dir / "rejected" / "messages.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def _start(self, script: str, own: dict[str, str], settings: dict[str, object]) -> Program:
        environment = {
            "RABBITMQ_HOST": "127.0.0.1",
            "RABBITMQ_PORT": str(self.broker.port),
            "NUM_CHUNKS": "3",
            "EXPECTED_CHUNKS": "3",
            **own,
            **{name: str(value) for name, value in settings.items()},
        }
        return self._programs.enter_context(Program(STATEFUL / script, environment))

    def worker_2(self, **settings: object) -> Program:
        own = {"INPUT_QUEUE": "queue-1-2", "OUTPUT_QUEUE": "queue-2-3", "WORKER_DATA_DIR": str(self.data_dir)}
        return self._start("worker_2.py", own, settings)

    def worker_3(self, **settings: object) -> Program:
        return self._start("worker_3.py", {"INPUT_QUEUE": "queue-2-3"}, settings)

    def runner(self, **settings: object) -> Program:
        return self._start("test_runner.py", {"OUTPUT_QUEUE": "queue-1-2"}, settings)

    def send(self, queue: str, body: bytes, message_id: str | None = None) -> None:
        with self.broker.channel() as channel:
            channel.queue_declare(queue)
            channel.basic_publish("", queue, body, pika.BasicProperties(message_id=message_id), mandatory=True)

    def close(self) -> None:
        self._programs.close()


@pytest.fixture
def broker() -> Iterator[BrokerThread]:
    thread = BrokerThread()
    yield thread
    thread.end()


@pytest.fixture
def stateful(broker: BrokerThread, tmp_path: Path) -> Iterator[Stateful]:
    pipeline = Stateful(broker, tmp_path / "worker-2")
    yield pipeline
    pipeline.close()
