"""Sends to the broker: sendto, sendmsg, sendmmsg, and write or writev on its socket.

A send is counted and let go: the kernel performs it, so the supervisor never waits for a full buffer. Only a rule makes
the supervisor send by itself, without waiting. AMQP heartbeats come by the clock, so they are not counted.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

from chaoskit.tap.held import Decision, Held, int32
from chaoskit.tap.operation import Basic, Vanished

BROKER_PATH = "broker"
_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_MMSG_BYTES = 64  # struct mmsghdr: a msghdr of 56 bytes, a length, padding.
_MESSAGES_MAX = 1024
Piece = tuple[int, int]


class BrokerSend(Basic):
    """Bytes of the program's memory, to the broker's socket."""

    op = "send"
    faithful = False

    def __init__(self, held: Held, fd: int, pieces: list[Piece]) -> None:
        self.path = BROKER_PATH
        self.size = sum(length for _, length in pieces)
        self._held = held
        self._fd = fd
        self._pieces = pieces

    def is_heartbeat(self) -> bool:
        """Whether this is one AMQP heartbeat frame."""
        return self.size == len(_HEARTBEAT) and b"".join(self._data(self.size)) == _HEARTBEAT

    def _data(self, limit: int) -> Iterator[bytes]:
        memory, listener = self._held.target.memory, self._held.listener
        for address, length in self._pieces:
            length = min(length, limit)
            limit -= length
            for start in range(0, length, memory.capacity_bytes):
                size = min(memory.capacity_bytes, length - start)
                yield memory.read(listener.tid, address + start, size)

    def perform(self, limit: int) -> int:
        """Send up to `limit` bytes without waiting; fewer when the socket's buffer is full. Raises OSError (EAGAIN)."""
        data = b"".join(self._data(limit))
        if not self._held.listener.is_valid():
            raise Vanished
        with socket.socket(fileno=self._held.take_fd(self._fd)) as channel:
            return channel.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def send_of(held: Held, link: str, pieces: list[Piece]) -> BrokerSend | None:
    """The send that writes these bytes, None when the socket is not the broker's or nothing is sent."""
    fd = int32(held.listener.args[0])
    if not held.is_broker(fd, link):
        return None
    operation = BrokerSend(held, fd, pieces)
    return None if operation.size == 0 or operation.is_heartbeat() else operation


def _pieces_of_header(held: Held, header: bytes) -> list[Piece]:
    address, count = struct.unpack_from("<QQ", header, 16)
    if count > _MESSAGES_MAX:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    layout = held.target.memory.read(held.listener.tid, address, 16 * count) if count else b""
    return [(base, length) for base, length in struct.iter_unpack("<QQ", layout) if length]


def _link(held: Held) -> str:
    return held.target.file_at(held.listener.tid, int32(held.listener.args[0]))


def sendto(held: Held) -> Decision:
    """sendto(fd, buffer, size, ...), which is also send()."""
    _, address, size = held.listener.args[:3]
    return send_of(held, _link(held), [(address, size)])


def sendmsg(held: Held) -> Decision:
    """sendmsg(fd, header, flags)."""
    link = _link(held)
    if not held.is_broker(int32(held.listener.args[0]), link):
        return None
    header = held.target.memory.read(held.listener.tid, held.listener.args[1], 56)
    return send_of(held, link, _pieces_of_header(held, header))


def sendmmsg(held: Held) -> Decision:
    """sendmmsg(fd, headers, count, flags): one send of all the messages' bytes."""
    link = _link(held)
    _, address, count = held.listener.args[:3]
    if not held.is_broker(int32(held.listener.args[0]), link) or count > _MESSAGES_MAX:
        return None
    headers = held.target.memory.read(held.listener.tid, address, _MMSG_BYTES * count)
    starts = range(0, len(headers), _MMSG_BYTES)
    pieces = [piece for at in starts for piece in _pieces_of_header(held, headers[at : at + 56])]
    return send_of(held, link, pieces)


class BrokerSockets:
    """Knows which sockets lead to the broker, by their peer. A host name matches any address: then the port decides."""

    def __init__(self, held_by: "FdSource", broker: tuple[str, int] | None) -> None:
        self._source = held_by
        self._port = broker[1] if broker else None
        self._address = _literal(broker[0]) if broker else None
        self._known: dict[str, bool] = {}

    def __call__(self, fd: int, link: str) -> bool:
        """Whether the caller's descriptor, which /proc calls `link`, is connected to the broker."""
        if self._port is None or not link.startswith("socket:"):
            return False
        known = self._known.get(link)
        return self._look(fd, link) if known is None else known

    def _look(self, fd: int, link: str) -> bool:
        with socket.socket(fileno=self._source.take_fd(fd)) as channel:
            if channel.family not in (socket.AF_INET, socket.AF_INET6):
                self._known[link] = False
                return False
            try:
                peer = channel.getpeername()
            except OSError:
                return False  # Not connected yet, so not remembered.
        address = _literal(peer[0])
        self._known[link] = peer[1] == self._port and (self._address is None or address == self._address)
        return self._known[link]


class FdSource:
    """Where BrokerSockets takes the held caller's descriptors from; bound after the Held that uses it exists."""

    held: Held

    def take_fd(self, fd: int) -> int:
        """A duplicate of the caller's descriptor."""
        return self.held.take_fd(fd)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


HANDLERS = {"sendto": sendto, "sendmsg": sendmsg, "sendmmsg": sendmmsg}
