"""AMQP 0-9-1 frames as raw bytes: cutting a stream into frames, and reading the few fields a proxy needs.

The methods that come once a message (publish, deliver, ack) are read here by hand, because decoding every field
of every message would be most of the proxy's cost; the rare ones are decoded by pamqp. Nothing is validated
beyond what is needed to find the next frame: the broker is the judge of everything else.
Layouts: AMQP 0-9-1 specification, section 4.2 (wire-level format) and the generated method tables.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pamqp import base, exceptions, frame

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
PROTOCOL_HEADER = 0
"""The kind given to the 8 bytes that open a connection; they are no frame and have no type octet."""

FRAME_OVERHEAD_BYTES = 8
"""7 bytes before a frame's payload (type, channel, size) and the end octet behind it."""

BASIC_CONSUME = 60 << 16 | 20
BASIC_CONSUME_OK = 60 << 16 | 21
BASIC_CANCEL = 60 << 16 | 30
BASIC_CANCEL_OK = 60 << 16 | 31
BASIC_PUBLISH = 60 << 16 | 40
BASIC_RETURN = 60 << 16 | 50
BASIC_DELIVER = 60 << 16 | 60
BASIC_GET = 60 << 16 | 70
BASIC_GET_OK = 60 << 16 | 71
BASIC_GET_EMPTY = 60 << 16 | 72
BASIC_ACK = 60 << 16 | 80
BASIC_REJECT = 60 << 16 | 90
BASIC_RECOVER_ASYNC = 60 << 16 | 100
BASIC_RECOVER = 60 << 16 | 110
BASIC_NACK = 60 << 16 | 120
CONNECTION_START_OK = 10 << 16 | 11
CONNECTION_OPEN = 10 << 16 | 40
CONNECTION_TUNE_OK = 10 << 16 | 31
CHANNEL_OPEN = 20 << 16 | 10
CHANNEL_CLOSE_OK = 20 << 16 | 41
CONFIRM_SELECT = 85 << 16 | 10

CONTENT_METHODS = frozenset({BASIC_PUBLISH, BASIC_RETURN, BASIC_DELIVER, BASIC_GET_OK})

HEADER_FRAME_BYTES = FRAME_OVERHEAD_BYTES + 14
"""The shortest content header frame: class, weight, body size and property flags."""

# pamqp documents UnmarshalingException, and lets these through for fields that reach beyond a frame.
_UNDECODABLE = (exceptions.PAMQPException, ValueError, LookupError, TypeError, struct.error)
_FRAME_END = 0xCE
_PROTOCOL_MAGIC = b"AMQP"
_KINDS = frozenset({METHOD, HEADER, BODY, HEARTBEAT})
_frame_start = struct.Struct(">BHI")
_u64 = struct.Struct(">Q")


class MalformedFrameError(ValueError):
    """The bytes are no AMQP 0-9-1 frame, or a frame's fields reach beyond its end."""


class Frame(NamedTuple):
    """One frame: `raw` is the whole of it, from the type octet to the end octet."""

    kind: int
    channel: int
    raw: bytes


class Splitter:
    """Cuts a byte stream into frames, however it arrives; holds at most one unfinished frame."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        """A longer frame is malformed; without a limit a wrong size field would be waited for without end."""
        self._buffer = bytearray()
        self._at_start = True

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Take the next whole frame, or None when more bytes are needed.

        Raises MalformedFrameError when no frame can begin here; `rest` then has the bytes.
        """
        if self._at_start:
            opening = self._take_protocol_header()
            if opening is not None or self._at_start:
                return opening
        if len(self._buffer) < _frame_start.size:
            return None
        kind, channel, payload_bytes = _frame_start.unpack_from(self._buffer)
        end = payload_bytes + FRAME_OVERHEAD_BYTES
        if kind not in _KINDS or end > self.limit_bytes:
            raise MalformedFrameError(f"frame type {kind} of {payload_bytes} bytes")
        if len(self._buffer) < end:
            return None
        if self._buffer[end - 1] != _FRAME_END:
            raise MalformedFrameError(f"frame of type {kind} does not end with 0xCE")
        return Frame(kind, channel, self._take(end))

    def rest(self) -> bytes:
        """Take everything that was fed and not yet taken."""
        return self._take(len(self._buffer))

    def _take_protocol_header(self) -> Frame | None:
        opening = self._buffer[:4]
        if not _PROTOCOL_MAGIC.startswith(opening):
            self._at_start = False
            return None
        if len(self._buffer) < 8:
            return None
        self._at_start = False
        return Frame(PROTOCOL_HEADER, 0, self._take(8))

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def payload_of(raw: bytes) -> bytes:
    """The payload of a raw frame."""
    return raw[7:-1]


def make_frame(kind: int, channel: int, payload: bytes) -> bytes:
    """A raw frame around a payload."""
    return b"".join((_frame_start.pack(kind, channel, len(payload)), payload, b"\xce"))


def method_id_of(raw: bytes) -> int:
    """Class and method id of a method frame as one number, 0 when the frame is too short to have one."""
    return int.from_bytes(raw[7:11], "big") if len(raw) >= 12 else 0


def body_bytes_of(raw: bytes) -> int:
    """The body size that a content header frame of at least HEADER_FRAME_BYTES announces."""
    return int(_u64.unpack_from(raw, 11)[0])


def decode_method(raw: bytes) -> base.Frame:
    """A method frame as pamqp reads it, for the methods that are not read by hand. Raises MalformedFrameError."""
    try:
        method = frame.unmarshal(raw)[2]
    except _UNDECODABLE as error:
        raise MalformedFrameError(str(error)) from error
    if not isinstance(method, base.Frame):
        raise MalformedFrameError("not a method frame")
    return method


class PublishFields(NamedTuple):
    """Fields of basic.publish and, in the same places of interest, basic.return."""

    exchange: str
    routing_key: str


class DeliverFields(NamedTuple):
    """Fields of basic.deliver and basic.get-ok (which has no consumer tag)."""

    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str


class SettleFields(NamedTuple):
    """Fields of basic.ack, basic.nack and basic.reject (whose flag is requeue, so `multiple` is False)."""

    delivery_tag: int
    multiple: bool


def read_publish(raw: bytes) -> PublishFields:
    """Read basic.publish: a reserved short, then exchange and routing key."""
    exchange, at = _short_string(raw, 13)
    return PublishFields(exchange, _short_string(raw, at)[0])


def read_return(raw: bytes) -> PublishFields:
    """Read basic.return: reply code and text, then exchange and routing key."""
    _, at = _short_string(raw, 13)
    exchange, at = _short_string(raw, at)
    return PublishFields(exchange, _short_string(raw, at)[0])


def read_deliver(raw: bytes) -> DeliverFields:
    """Read basic.deliver."""
    consumer_tag, at = _short_string(raw, 11)
    return DeliverFields(consumer_tag, *_read_delivery(raw, at))


def read_get_ok(raw: bytes) -> DeliverFields:
    """Read basic.get-ok."""
    return DeliverFields("", *_read_delivery(raw, 11))


def read_settle(raw: bytes) -> SettleFields:
    """Read basic.ack, basic.nack or basic.reject."""
    if len(raw) < 21:
        raise MalformedFrameError("acknowledgement is too short")
    multiple = bool(raw[19] & 1) and method_id_of(raw) != BASIC_REJECT
    return SettleFields(_u64.unpack_from(raw, 11)[0], multiple)


def make_ack(method_id: int, channel: int, delivery_tag: int) -> bytes:
    """A basic.ack or basic.nack frame for one delivery tag."""
    return make_frame(METHOD, channel, method_id.to_bytes(4, "big") + _u64.pack(delivery_tag) + b"\x00")


def make_publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """A basic.publish frame, neither mandatory nor immediate. Raises ValueError for a name over 255 bytes.

    pamqp's own encoder refuses names that brokers accept, such as one with an asterisk.
    """
    names = b"".join(_pack_short_string(name) for name in (exchange, routing_key))
    return make_frame(METHOD, channel, BASIC_PUBLISH.to_bytes(4, "big") + b"\x00\x00" + names + b"\x00")


def _pack_short_string(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 255:
        raise ValueError(f"a name of {len(encoded)} bytes is too long, 255 are allowed")
    return bytes((len(encoded),)) + encoded


def _read_delivery(raw: bytes, at: int) -> tuple[int, bool, str, str]:
    if len(raw) < at + 10:
        raise MalformedFrameError("delivery is too short")
    delivery_tag = _u64.unpack_from(raw, at)[0]
    redelivered = bool(raw[at + 8] & 1)
    exchange, at = _short_string(raw, at + 9)
    routing_key, _ = _short_string(raw, at)
    return delivery_tag, redelivered, exchange, routing_key


def read_message_id(raw: bytes) -> str:
    """The message-id property of a content header frame, empty when it has none.

    Properties stand in the order of their flag bits; those before message-id are skipped unread.
    """
    flags = int.from_bytes(raw[19:21], "big")
    if not flags & _MESSAGE_ID_FLAG:
        return ""
    at = 21
    while flags & 1:
        flags, at = int.from_bytes(raw[at : at + 2], "big"), at + 2
    return _short_string(raw, _skip_properties(raw, at))[0]


_MESSAGE_ID_FLAG = 1 << 7
# Flag bits of the properties that precede message-id, with what each one's value is.
_PRECEDING = (
    (1 << 15, "short string"),  # content-type
    (1 << 14, "short string"),  # content-encoding
    (1 << 13, "table"),  # headers
    (1 << 12, "octet"),  # delivery-mode
    (1 << 11, "octet"),  # priority
    (1 << 10, "short string"),  # correlation-id
    (1 << 9, "short string"),  # reply-to
    (1 << 8, "short string"),  # expiration
)


def _skip_properties(raw: bytes, at: int) -> int:
    flags = int.from_bytes(raw[19:21], "big")
    for flag, value in _PRECEDING:
        if not flags & flag:
            continue
        if at >= len(raw):
            raise MalformedFrameError("properties reach beyond the frame")
        if value == "octet":
            at += 1
        elif value == "table":
            at += 4 + int.from_bytes(raw[at : at + 4], "big")
        else:
            at += 1 + raw[at]
    return at


def _short_string(raw: bytes, at: int) -> tuple[str, int]:
    # The frame's last octet is its end mark, so that a string has to end before it.
    if at >= len(raw) - 1:
        raise MalformedFrameError("short string is missing")
    end = at + 1 + raw[at]
    if end > len(raw) - 1:
        raise MalformedFrameError("short string reaches beyond the frame")
    return raw[at + 1 : end].decode("utf-8", "backslashreplace"), end
