"""A client of the core, without sockets: it encodes with pamqp, hands bytes over and decodes what comes out.

Its own half of the protocol is independent of the broker's: the broker's hand-written encoders are checked by pamqp.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from pamqp import base, body, commands, frame, header

from chaoskit.broker.core.connection import Connection, State
from chaoskit.broker.core.handshake import Settings
from chaoskit.broker.core.vhost import VirtualHost

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
CAPABILITIES = {"consumer_cancel_notify": True, "authentication_failure_close": True}


class Delivery(NamedTuple):
    """A message that reached the client."""

    channel: int
    tag: int
    redelivered: bool
    body: bytes


class Clock:
    """The time of a test."""

    def __init__(self) -> None:
        self.now_s = 1000.0


class World:
    """One virtual host, its clients and the clock."""

    def __init__(self, **settings: Any) -> None:
        names = (f"name{number:018d}" for number in itertools.count())
        self.vhost = VirtualHost(lambda: next(names), epoch_offset_s=1_700_000_000.0)
        self.settings = Settings(users={"guest": "guest"}, **settings)
        self.clock = Clock()

    def client(self, **options: Any) -> CoreClient:
        """A client that has shaken hands and opened channel 1."""
        client = CoreClient(self)
        client.open(**options)
        client.call(commands.Channel.Open())
        return client

    def advance(self, seconds_s: float) -> None:
        """Let the time pass for the queues."""
        self.clock.now_s += seconds_s
        self.vhost.now_s = self.clock.now_s
        self.vhost.expire()


class CoreClient:
    """One connection to the core."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.woken = 0
        self.connection = Connection(world.vhost, world.settings, self._wake, world.clock.now_s)
        self._buffer = b""

    def _wake(self, connection: Connection) -> None:
        self.woken += 1

    @property
    def state(self) -> State:
        return self.connection.state

    def feed(self, data: bytes) -> None:
        self.connection.receive(data, self.world.clock.now_s)

    def send(self, *items: Any, channel: int = 1) -> None:
        self.feed(b"".join(frame.marshal(item, channel) for item in items))

    def frames(self) -> list[tuple[int, Any]]:
        """Everything that the broker has said since the last call."""
        self._buffer += self.connection.take_output(self.world.clock.now_s)
        found = []
        while self._buffer:
            size_bytes, channel, item = frame.unmarshal(self._buffer)
            self._buffer = self._buffer[size_bytes:]
            found.append((channel, item))
        return found

    def methods(self) -> list[Any]:
        """The same without channels and contents."""
        return [item for _, item in self.frames() if isinstance(item, base.Frame)]

    def call(self, method: Any, channel: int = 1) -> Any:
        """Send a method and return the one answer."""
        self.send(method, channel=channel)
        (answer,) = self.methods()
        return answer

    def open(self, *, heartbeat_s: int = 0, frame_max: int = 131072) -> None:
        self.feed(PROTOCOL_HEADER)
        properties: Any = {"capabilities": CAPABILITIES}
        self.send(commands.Connection.StartOk(properties, "PLAIN", "\0guest\0guest"), channel=0)
        self.send(commands.Connection.TuneOk(2047, frame_max, heartbeat_s), commands.Connection.Open("/"), channel=0)
        assert [type(item) for item in self.methods()] == [
            commands.Connection.Start,
            commands.Connection.Tune,
            commands.Connection.OpenOk,
        ]

    def publish(self, queue: str, data: bytes, channel: int = 1, **properties: Any) -> None:
        self.send(*content(queue, data, **properties), channel=channel)

    def deliveries(self) -> list[Delivery]:
        """The messages among everything that the broker has said since the last call."""
        found = []
        frames = iter(self.frames())
        for channel, item in frames:
            if isinstance(item, commands.Basic.Deliver | commands.Basic.GetOk):
                head = next(frames)[1]
                data = b""
                while len(data) < head.body_size:
                    data += next(frames)[1].value
                found.append(Delivery(channel, item.delivery_tag or 0, bool(item.redelivered), data))
        return found


def content(queue: str, data: bytes, **properties: Any) -> list[Any]:
    """The frames of a publish through the default exchange."""
    frames = [
        commands.Basic.Publish(routing_key=queue),
        header.ContentHeader(0, len(data), commands.Basic.Properties(**properties)),
    ]
    return [*frames, body.ContentBody(data)] if data else frames
