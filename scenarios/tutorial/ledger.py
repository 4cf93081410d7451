"""Writes each payment that comes to a ledger, a line each, exactly once: id, customer, cents.

It is written with care: a line is on disk before its message is acknowledged, a payment that comes again is known by
its id, and what a crash left of a line is cut off at the next start. One mistake is in it all the same;
docs/tutorial.md finds it.
"""

import json
import os
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel

QUEUE = os.environ["INPUT_QUEUE"]
LEDGER = Path(os.environ["WORKER_DATA_DIR"], "ledger.csv")
COLUMNS = 3


def repair() -> None:
    """Cut off a last line that was not written to its end."""
    whole, newline, last = LEDGER.read_bytes().rpartition(b"\n")
    if last and last.count(b",") < COLUMNS - 1:
        os.truncate(LEDGER, len(whole + newline))
        print(f"cut off {last!r}")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Ledger:
    """The file, and the ids of the payments in it."""

    def __init__(self) -> None:
        self.file = LEDGER.open("ab")
        repair()
        sync(LEDGER)
        sync(LEDGER.parent)
        self.ids = {line.split(",")[0] for line in LEDGER.read_text().splitlines()}
        print(f"{len(self.ids)} payments in the ledger")

    def add(self, payment: dict[str, str]) -> None:
        if payment["id"] in self.ids:
            print(f"{payment['id']} is known")
            return
        self.file.write(f"{payment['id']},{payment['customer']},{payment['cents']}\n".encode())
        self.file.flush()
        os.fsync(self.file.fileno())
        self.ids.add(payment["id"])
        print(f"{payment['id']} is written")


def main() -> None:
    ledger = Ledger()
    host, port = os.environ["RABBITMQ_HOST"], int(os.environ["RABBITMQ_PORT"])
    channel = pika.BlockingConnection(pika.ConnectionParameters(host, port)).channel()
    channel.queue_declare(QUEUE)
    channel.basic_qos(prefetch_count=1)

    def on_payment(channel: BlockingChannel, method: pika.spec.Basic.Deliver, _: object, body: bytes) -> None:
        ledger.add(json.loads(body))
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(QUEUE, on_payment)
    channel.start_consuming()


if __name__ == "__main__":
    main()
