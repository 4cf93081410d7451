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

from chaoskit.tap.held import Decision, Descriptor, Held
from chaoskit.tap.operation import Basic, Vanished

BROKER_PATH = "broker"
_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_MMSG_BYTES = 64  # struct mmsghdr: a msghdr of 56 bytes, a length, padding.
_MESSAGES_MAX = 1024
Piece = tuple[int, int]
# Where a program sees the broker: one host and port, several, or nowhere.
Broker = tuple[str, int] | list[tuple[str, int]] | None


class BrokerSend(Basic):
    """Bytes of the program's memory, to the broker's socket."""

    op = "send"
    faithful = False

    def __init__(self, held: Held, pieces: list[Piece]) -> None:
        self.path = BROKER_PATH
        self.size = sum(length for _, length in pieces)
        self._held = held
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
        with socket.socket(fileno=self._held.descriptor(self._held.listener.args[0]).fd) as channel:
            return channel.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def send_of(held: Held, pieces: list[Piece]) -> BrokerSend | None:
    """The send of these bytes to the broker, None when nothing is sent that counts."""
    operation = BrokerSend(held, pieces)
    return None if operation.size == 0 or operation.is_heartbeat() else operation


def _pieces_of_header(held: Held, header: bytes) -> list[Piece]:
    address, count = struct.unpack_from("<QQ", header, 16)
    if count > _MESSAGES_MAX:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    layout = held.target.memory.read(held.listener.tid, address, 16 * count) if count else b""
    return [(base, length) for base, length in struct.iter_unpack("<QQ", layout) if length]


def _is_send(held: Held) -> bool:
    file = held.descriptor(held.listener.args[0])
    try:
        return held.is_broker(file)
    finally:
        file.close()


def sendto(held: Held) -> Decision:
    """sendto(fd, buffer, size, ...), which is also send()."""
    _, address, size = held.listener.args[:3]
    return send_of(held, [(address, size)]) if _is_send(held) else None


def sendmsg(held: Held) -> Decision:
    """sendmsg(fd, header, flags)."""
    if not _is_send(held):
        return None
    header = held.target.memory.read(held.listener.tid, held.listener.args[1], 56)
    return send_of(held, _pieces_of_header(held, header))


def sendmmsg(held: Held) -> Decision:
    """sendmmsg(fd, headers, count, flags): one send of all the messages' bytes."""
    _, address, count = held.listener.args[:3]
    if count > _MESSAGES_MAX or not _is_send(held):
        return None
    headers = held.target.memory.read(held.listener.tid, address, _MMSG_BYTES * count)
    starts = range(0, len(headers), _MMSG_BYTES)
    return send_of(held, [piece for at in starts for piece in _pieces_of_header(held, headers[at : at + 56])])


class BrokerSockets:
    """Knows which sockets lead to the broker, by their peer. A host name matches any address: then the port decides."""

    def __init__(self, broker: Broker) -> None:
        known = [broker] if isinstance(broker, tuple) else broker or []
        self._addresses = [(_literal(host), port) for host, port in known]
        self._known: dict[int, bool] = {}

    def __call__(self, file: Descriptor) -> bool:
        """Whether this is a socket that is connected to the broker."""
        if not self._addresses or not file.socket:
            return False
        known = self._known.get(file.socket)
        return self._look(file) if known is None else known

    def _look(self, file: Descriptor) -> bool:
        with socket.socket(fileno=os.dup(file.fd)) as channel:
            if channel.family not in (socket.AF_INET, socket.AF_INET6):
                self._known[file.socket] = False
                return False
            try:
                peer = channel.getpeername()
            except OSError:
                return False  # Not connected yet, so not remembered.
        found = _literal(peer[0])
        self._known[file.socket] = any(
            peer[1] == port and address in (None, found) for address, port in self._addresses
        )
        return self._known[file.socket]


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


HANDLERS = {"sendto": sendto, "sendmsg": sendmsg, "sendmmsg": sendmmsg}
