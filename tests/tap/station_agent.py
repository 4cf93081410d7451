"""A Station in a container of its own, for the tests: commands as JSON lines on standard input, what happens on output.

It listens at the broker's port too, and says at the end of each connection what it got.
"""

import json
import os
import selectors
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaoskit.tap import Door, Order, Station, receive, unavailable

SOCKETS = Path("/tap")
DATA = Path("/data")
BROKER_PORT = 5672


class Agent:
    """One program at a time, in a loop that is no asyncio."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.door = Door(SOCKETS / "door")
        self.station: Station | None = None
        self.expected: dict[str, Any] = {}
        broker = socket.create_server(("", BROKER_PORT))
        self.watch(sys.stdin.fileno(), self.command)
        self.watch(self.door.fileno(), self.knock)
        self.watch(broker.fileno(), lambda: self.accept(broker))

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        self.selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        self.selector.unregister(fd)

    def serve(self) -> None:
        tell(hello=unavailable())
        while True:
            for key, _ in self.selector.select():
                # One callback may have put an end to the next one's descriptor.
                if key.fd in self.selector.get_map():
                    key.data()

    def command(self) -> None:
        line = sys.stdin.buffer.readline()
        if not line:
            raise SystemExit
        request = json.loads(line)
        answer = getattr(self, f"do_{request.pop('do')}")(**request)
        tell(answer=answer)

    def do_begin(self, owner: int, **options: bool) -> None:
        """A run begins: the data directory is empty and somebody's."""
        if self.station is not None:
            self.station.close()
        for path in DATA.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        os.chown(DATA, owner, owner)
        # New entries get the directory's group.
        DATA.chmod(0o2775)
        self.station = Station(lambda report: tell(report=report.to_json()), self.watch, self.unwatch, **options)

    def do_expect(self, **expected: Any) -> None:
        self.expected = expected

    def do_heal(self, order: str) -> None:
        assert self.station is not None
        self.station.heal(order)

    def do_lose(self) -> bool:
        assert self.station is not None
        return self.station.lose("worker")

    def do_files(self) -> dict[str, Any]:
        """Every entry of the data directory: kind and permissions, owners, content."""
        return {str(path.relative_to(DATA)): entry(path) for path in sorted(DATA.rglob("*"))}

    def do_stall(self) -> None:
        """Be there and answer nobody, until killed."""
        tell(answer="stalled")
        signal.pause()

    def knock(self) -> None:
        channel = self.door.greet()
        with channel:
            _, listener_fd = receive(channel)
        if listener_fd is None:
            tell(knock="left")
            return
        assert self.station is not None
        orders = [Order.from_json(order) for order in self.expected["orders"]]
        broker = [(host, port) for host, port in self.expected["broker"]]
        self.station.supervise(
            listener_fd,
            program="worker",
            life=self.expected["life"],
            root=Path(self.expected["root"]),
            data=Path(self.expected["data"]),
            broker=broker,
            orders=orders,
        )

    def accept(self, broker: socket.socket) -> None:
        connection, _ = broker.accept()
        received = bytearray()

        def read() -> None:
            data = connection.recv(4096)
            received.extend(data)
            if not data:
                self.unwatch(connection.fileno())
                connection.close()
                tell(received=received.decode())

        self.watch(connection.fileno(), read)


def entry(path: Path) -> list[Any]:
    status = path.lstat()
    content = None
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = path.read_text()
    return [oct(status.st_mode), status.st_uid, status.st_gid, content]


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    Agent().serve()
