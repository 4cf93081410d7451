"""One connection through the proxy on asyncio: two sockets around a Conversation. No protocol knowledge.

When one side ends, what arrived from it before still reaches the other side: a program that is killed after its send
has sent. (Unless it dies with deliveries unread: the kernel then resets the connection and throws away what it had
not transmitted yet, as it would on a direct connection to a broker.) Reading stops while the other side does not drain
and while a message is delayed, so that the end of a connection is noticed only after the delay.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable

from chaoskit.proxy.conversation import Conversation
from chaoskit.proxy.lane import Copy, Lane, Output

_READ_BYTES = 1 << 18
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """One of the two sockets of a link, and the lane of what it sends."""

    def __init__(self, lane: Lane, link: Link, linger_s: float) -> None:
        self.finished = False
        """Whether everything that this end will ever send has been taken."""
        self._lane = lane
        self._link = link
        self._linger_s = linger_s
        self._transport: asyncio.Transport | None = None
        self._pauses: set[str] = set()
        self._delay: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._link.made(self)
        # The link may have been broken between the accept and this call.
        if self.finished:
            self.reset()

    def data_received(self, data: bytes) -> None:
        """Hand over what arrived, unless nobody listens any more."""
        if self.finished:
            return
        try:
            self._link.apply(self, self._lane.feed(data))
        except BaseException:
            # A callback failed in the middle of a message: nothing after it can be told right any more.
            self._link.reset()
            raise

    def eof_received(self) -> None:
        """Finish; the transport then closes itself, AMQP knows no half-closed connection."""
        self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take what the socket still holds: a reset by a dying program leaves what it sent before."""
        if exc is not None:
            for data in self._leftovers():
                self.data_received(data)
        self._finish()
        if self._linger is not None:
            self._linger.cancel()
        self._link.lost(self)

    def pause_writing(self) -> None:
        """This end does not drain: stop reading the other one."""
        self._link.other(self).hold("writing")

    def resume_writing(self) -> None:
        """This end drains again."""
        self._link.other(self).release("writing")

    def hold(self, reason: str) -> None:
        """Stop reading for a reason."""
        self._pauses.add(reason)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def release(self, reason: str) -> None:
        """Read again, when no other reason is left."""
        self._pauses.discard(reason)
        if not self._pauses and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def write(self, chunks: list[bytes]) -> None:
        """Send; bytes for a socket that is gone are dropped, as the kernel would."""
        if self._transport is None or self._transport.is_closing() or self._linger is not None:
            return
        self._transport.write(b"".join(chunks))

    def delay(self, seconds: float, then: Callable[[], None]) -> None:
        """Stop reading, and call `then` after `seconds`; it is called even when the socket is gone by then."""
        self.hold("delay")
        self._delay = asyncio.get_running_loop().call_later(seconds, then)

    def close_softly(self) -> None:
        """Send what is buffered and the end of the stream, and listen to nobody until the peer closes.

        Closing a socket that holds unread data resets the connection, and the peer could lose what was sent last.
        """
        self.finished = True
        if self._transport is None or self._transport.is_closing() or self._linger is not None:
            return
        self._transport.write_eof()
        self._pauses.clear()
        self._transport.resume_reading()
        self._linger = asyncio.get_running_loop().call_later(self._linger_s, self._transport.abort)

    def reset(self) -> None:
        """Break the connection at once, with a TCP reset."""
        self.finished = True
        if self._delay is not None:
            self._delay.cancel()
        if self._transport is None:
            return
        connection: socket.socket | None = self._transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def _finish(self) -> None:
        if not self.finished:
            self.finished = True
            self._link.finishing(self)
            self._link.apply(self, self._lane.finish())

    def _leftovers(self) -> list[bytes]:
        connection = self._transport.get_extra_info("socket") if self._transport is not None else None
        if self.finished or connection is None or connection.fileno() < 0:
            return []
        found: list[bytes] = []
        with socket.socket(fileno=os.dup(connection.fileno())) as left:
            left.setblocking(False)
            try:
                while data := left.recv(_READ_BYTES):
                    found.append(data)
            except OSError:
                # The reset itself, or nothing left: what was found is all there is.
                return found
        return found


class Link:
    """A client's connection and the one to the broker that stands for it.

    `publish_copy` takes the duplicates, and calls back when they are with the broker; `on_disconnected` is called
    once, when the first of the two ends is gone.
    """

    def __init__(
        self,
        conversation: Conversation,
        publish_copy: Callable[[Copy, Callable[[], None]], None],
        on_disconnected: Callable[[], None],
    ) -> None:
        self._conversation = conversation
        self._publish_copy = publish_copy
        self._on_disconnected = on_disconnected
        self.client = End(conversation.client_lane, self, linger_s=1.0)
        self.broker = End(conversation.broker_lane, self, linger_s=5.0)
        self.connected = False
        """Whether both ends are up."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Is set when both sockets are closed."""
        self._sockets: set[End] = set()
        self._copies = 0
        self._frozen = False
        self._kept: list[tuple[End, Output]] = []

    def other(self, end: End) -> End:
        """The opposite end."""
        return self.broker if end is self.client else self.client

    @property
    def delaying(self) -> bool:
        """Whether a message is held back in either direction."""
        return self._conversation.client_lane.waiting or self._conversation.broker_lane.waiting

    def consumers(self) -> set[str]:
        """The queues that the program consumes from on this connection."""
        return set(self._conversation.consumers()) if self.connected else set()

    def unacked(self) -> Counter[str]:
        """How many messages of each queue wait for the program's word on this connection."""
        return self._conversation.unacked() if self.connected else Counter()

    def made(self, end: End) -> None:
        """A socket is open; the client's is not read before the broker's is open, too."""
        self._sockets.add(end)
        if end is self.client:
            end.hold("connecting")

    def join(self) -> bool:
        """Both sockets should be open: begin to read the client's. False when it has gone meanwhile."""
        if self.client not in self._sockets or self.client.finished:
            self.broker.reset()
            return False
        self.connected = self.broker in self._sockets and not self.broker.finished
        self.client.release("connecting")
        return self.connected

    def freeze(self) -> None:
        """Let nothing through and close nothing, until `thaw`. A link that is at its end comes to it."""
        if self.connected:
            self._frozen = True
            self.client.hold("network")
            self.broker.hold("network")

    def thaw(self) -> None:
        """Go on where `freeze` stopped it."""
        if not self._frozen:
            return
        self._frozen = False
        kept, self._kept = self._kept, []
        for source, out in kept:
            self.apply(source, out)
        self.client.release("network")
        self.broker.release("network")

    def apply(self, source: End, out: Output) -> None:
        """Do what a lane of `source` wants done; what was read before the network went is kept until it is back."""
        if self._frozen:
            self._kept.append((source, out))
            return
        target = self.other(source)
        target.write(out.chunks)
        for copy in out.copies:
            self._publish(copy)
        if out.wait_s is not None:
            source.delay(out.wait_s, lambda: self._resume(source))
        if out.cut:
            self._cut(source)
        if out.ended:
            target.close_softly()
            self._conversation.close()

    def _publish(self, copy: Copy) -> None:
        """Both ends wait for a copy: a publisher that waits for confirms then sends nothing in between."""
        if copy.late:
            self._publish_copy(copy, lambda: None)
            return
        self._copies += 1
        self.client.hold("copy")
        self.broker.hold("copy")
        self._publish_copy(copy, self._published)

    def _published(self) -> None:
        self._copies -= 1
        if not self._copies:
            self.client.release("copy")
            self.broker.release("copy")

    def finishing(self, end: End) -> None:
        """`end` is gone: what comes for it from the other side has no reader, so nobody saw it."""
        lane = self._conversation.broker_lane if end is self.client else self._conversation.client_lane
        lane.stop()
        self._disconnect()

    def lost(self, end: End) -> None:
        """A socket is closed."""
        self._sockets.discard(end)
        if not self._sockets and not self.done.done():
            self.done.set_result(None)

    def reset(self) -> None:
        """Break both connections at once; nothing that is still here goes on."""
        self._kept.clear()
        self._conversation.stop()
        self._conversation.close()
        self.client.reset()
        self.broker.reset()
        self._disconnect()

    def _resume(self, source: End) -> None:
        lane = self._conversation.client_lane if source is self.client else self._conversation.broker_lane
        self.apply(source, lane.resume())
        if not lane.waiting:
            source.release("delay")

    def _cut(self, source: End) -> None:
        self._conversation.stop()
        self._conversation.close()
        # The broker gets what went on before the cut, and so does a client that was about to be sent something.
        self.broker.close_softly()
        if source is self.client:
            self.client.reset()
        else:
            self.client.close_softly()
        self._disconnect()

    def _disconnect(self) -> None:
        if self.connected:
            self.connected = False
            self._on_disconnected()
