"""What the proxy sees and what it may be told to do: values only, no I/O and no AMQP parsing.

`Seen` is one message (or one acknowledgement of one message) at the moment before its bytes go on; an
`Action` is the answer. `Change` tells of everything that is not a message: connections and consumers.
`Counts` numbers the messages of the whole pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["published", "delivered", "acked", "nacked", "rejected", "returned", "confirmed", "unconfirmed"]
ChangeKind = Literal[
    "connected",
    "disconnected",
    "refused",
    "away",
    "consuming",
    "cancelled",
    "opaque",
    "copy-sent",
    "copy-lost",
    "copy-away",
]

PREVIEW_BYTES = 64
"""How much of a body `Seen.preview` holds."""

INJECTED_PROGRAM = "chaoskit"
"""The program named in `Seen.program` for copies that the injector publishes itself."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One message, or one acknowledgement of one message, before its bytes are forwarded.

    kind: "published" (client to broker), "delivered" (basic.deliver and basic.get-ok), "acked", "nacked" and
      "rejected" (by the consumer), "confirmed" and "unconfirmed" (the broker's ack or nack of a publish),
      "returned" (an unroutable mandatory message).
    queue: where the message goes to or comes from; "exchange/routing_key" when the queue is not known. A message
      that goes to several queues is seen once for each, and so is each message of an ack with `multiple`.
    nth: 1 for the first (kind, queue) of the pipeline. Injected copies are numbered by themselves, so that they
      never shift the numbers of the originals; their deliveries cannot be told apart and do count.
    size_bytes: the body's size from the content header. preview: its first PREVIEW_BYTES bytes.
    whole: False for a message larger than the proxy holds; it is streamed and cannot be duplicated.
    """

    kind: Kind
    program: str
    queue: str
    nth: int
    exchange: str = ""
    routing_key: str = ""
    message_id: str = ""
    size_bytes: int = 0
    preview: bytes = b""
    channel: int = 0
    delivery_tag: int = 0
    multiple: bool = False
    redelivered: bool = False
    injected: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """Something other than a message: `detail` is a queue, an address or a reason, in one line.

    kind: "connected" and "disconnected" (one connection of the program, on both sides of the proxy), "refused" (the
    broker could not be reached, the program saw its connection close), "away" (the same, because the broker or the
    program's network was hurt), "consuming" and "cancelled" (a consumer; the end of its channel or connection counts as
    cancelled), "opaque" (bytes that are no AMQP pass unread from here on), "copy-sent" (a duplicate, confirmed by the
    broker), "copy-lost" (one that was asked for and was not published) and "copy-away" (one lost with a hurt broker).
    """

    kind: ChangeKind
    program: str
    detail: str = ""


class Login(NamedTuple):
    """Who a program is to the broker. The password is for connections of our own and is never shown."""

    user: str
    password: str
    virtual_host: str = "/"


@dataclass(frozen=True, slots=True)
class Forward:
    """Pass the message on."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Pass the message on, then publish `copies` more of it: at once, or when `Injector.send_late` is called.

    For "published" and "delivered" only. A copy of a published message takes the same exchange and routing key; a
    copy of a delivered message goes straight to the queue it came from.
    """

    copies: int = 1
    late: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Hold this direction of this connection for `seconds`; nothing overtakes the message."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection, `before` or after the message went on. What went on earlier still arrives."""

    before: bool


@dataclass(frozen=True, slots=True)
class Drop:
    """Swallow what the client sent (a publish or an ack). A swallowed publish is never confirmed."""


Action = Forward | Duplicate | Delay | Cut | Drop
FORWARD = Forward()

OnMessage = Callable[[Seen], Action]
OnChange = Callable[[Change], None]
OnLogin = Callable[[Login], None]


class Counts:
    """How many messages of each (kind, queue) were seen; share one between all proxies of a pipeline."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Kind, str, bool], int] = {}

    def advance(self, kind: Kind, queue: str, injected: bool = False) -> int:
        """Count one more and return its number, from 1."""
        key = (kind, queue, injected)
        number = self._numbers.get(key, 0) + 1
        self._numbers[key] = number
        return number

    def of(self, kind: Kind, queue: str, injected: bool = False) -> int:
        """How many were seen until now."""
        return self._numbers.get((kind, queue, injected), 0)
