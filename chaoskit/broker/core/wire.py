"""Bytes to frames and frames to bytes.

pamqp knows the methods of AMQP 0-9-1; this module cuts the stream into frames (with the size limit that pamqp has
not), and encodes by hand the methods that are sent or received once a message, because pamqp's table-driven way costs
more than everything else that the broker does for a message. It also encodes the methods that carry names: pamqp
refuses to write names that RabbitMQ allows. It does not know what any frame means.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from pamqp import base, commands, decode, header
from pamqp import frame as pamqp_frame
from pamqp.common import FieldTable
from pamqp.exceptions import UnmarshalingException

from chaoskit.broker.core.errors import AmqpError, Reply

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
FRAME_OVERHEAD_BYTES = 8
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
BASIC_CLASS = 60
_SHOWN_OCTETS = 16

_FRAME_START = struct.Struct(">BHI")
_INDEX = struct.Struct(">I")
_TAG_AND_BITS = struct.Struct(">QB")
_CONTENT_START = struct.Struct(">HHQ")
_DECODE_ERRORS = (UnmarshalingException, ValueError, TypeError, LookupError, struct.error, ArithmeticError, OSError)
_DECODE_ERRORS_AND_DEPTH = (*_DECODE_ERRORS, RecursionError)


class Publish(NamedTuple):
    """The arguments of basic.publish."""

    exchange: str
    routing_key: str
    mandatory: bool
    immediate: bool


class Ack(NamedTuple):
    """The arguments of basic.ack."""

    delivery_tag: int
    multiple: bool


Method = Publish | Ack | base.Frame


class Frame(NamedTuple):
    """One frame as it stands on the wire; `raw` has the 7 bytes in front and the end byte."""

    kind: int
    channel: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        return self.raw[7:-1]


class FrameReader:
    """Cuts a stream of bytes into frames; keeps at most one incomplete frame."""

    def __init__(self, max_frame_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Append bytes that came from the client."""
        self._buffer += data

    def take(self, size_bytes: int) -> bytes | None:
        """Exactly `size_bytes` bytes, or None while fewer have come."""
        if len(self._buffer) < size_bytes:
            return None
        taken = bytes(self._buffer[:size_bytes])
        del self._buffer[:size_bytes]
        return taken

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a frame that has not ended yet."""
        return len(self._buffer)

    def drain(self) -> list[Frame | AmqpError]:
        """All complete frames, and last an error when the stream cannot be read any further."""
        frames: list[Frame | AmqpError] = []
        buffer, start, available = self._buffer, 0, len(self._buffer)
        while available - start >= 7:
            kind, channel, size = _FRAME_START.unpack_from(buffer, start)
            # Refused by its length alone, so that nobody has to send (or we to keep) what is too large.
            if size > self.max_frame_bytes:
                frames.append(self._too_large(kind, size))
                start = available
                break
            end = start + size + FRAME_OVERHEAD_BYTES
            if available < end:
                break
            frame = Frame(kind, channel, bytes(buffer[start:end]))
            start = end
            if frame.raw[-1] != FRAME_END:
                frames.append(frame_error(frame, f"{{invalid_frame_end_marker,{frame.raw[-1]}}}"))
                start = available
                break
            frames.append(frame)
        del buffer[:start]
        return frames

    def _too_large(self, kind: int, size_bytes: int) -> AmqpError:
        # RabbitMQ names the limit without the frame's own 8 bytes, and lets them pass all the same.
        limit_bytes = self.max_frame_bytes - FRAME_OVERHEAD_BYTES
        return frame_error(Frame(kind, 0, b""), f"{{frame_too_large,{size_bytes},{limit_bytes}}}")


def frame_error(frame: Frame, reason: str) -> AmqpError:
    """501 in RabbitMQ's words, with the first bytes of what came."""
    return AmqpError(Reply.FRAME_ERROR, f"{describe_frame(frame)}: {reason}")


def describe_frame(frame: Frame) -> str:
    """Type and first bytes of a frame, as RabbitMQ shows them (an Erlang binary)."""
    payload = frame.payload
    shown = payload[:_SHOWN_OCTETS]
    what = "all octets" if len(shown) == len(payload) else f"first {_SHOWN_OCTETS} octets"
    printable = bool(shown) and all(32 <= octet < 127 for octet in shown)
    octets = f'"{shown.decode()}"' if printable else ",".join(map(str, shown))
    return f"type {frame.kind}, {what} = <<{octets}>>"


def decode_method(frame: Frame) -> Method:
    """The method in a method frame.

    Raises AmqpError 501 for one that cannot be read, 540 for an unknown one.
    """
    raw = frame.raw
    if len(raw) < 12:
        raise frame_error(frame, "unknown_frame")
    (index,) = _INDEX.unpack_from(raw, 7)
    if index == commands.Basic.Publish.index:
        return _decode_publish(frame.payload)
    if index == commands.Basic.Ack.index and len(raw) == 21:
        tag, bits = _TAG_AND_BITS.unpack_from(raw, 11)
        return Ack(tag, bool(bits & 1))
    return _decode_rare(index, raw)


def _decode_rare(index: int, raw: bytes) -> base.Frame:
    if index not in commands.INDEX_MAPPING:
        raise AmqpError(Reply.NOT_IMPLEMENTED, f"unknown method {index >> 16}.{index & 0xFFFF}", index)
    try:
        method = pamqp_frame.unmarshal(raw)[2]
    except _DECODE_ERRORS_AND_DEPTH as error:
        raise _cannot_decode(raw[11:-1], index) from error
    assert isinstance(method, base.Frame)
    return method


def _cannot_decode(arguments: bytes, index: int) -> AmqpError:
    octets = ",".join(map(str, arguments[:_SHOWN_OCTETS]))
    return AmqpError(Reply.FRAME_ERROR, f"cannot decode <<{octets}>>", index)


def method_name(method: Method) -> str:
    """The name of a method as the specification writes it: `queue.declare-ok` is `queue.declareok` here."""
    if isinstance(method, base.Frame):
        return method.name.lower()
    return f"basic.{type(method).__name__.lower()}"


# A publisher sends the same few method frames again and again: only the content differs.
@lru_cache(maxsize=1024)
def _decode_publish(payload: bytes) -> Publish:
    try:
        exchange, offset = _read_short_string(payload, 6)
        routing_key, offset = _read_short_string(payload, offset)
        bits = payload[offset]
    except (IndexError, UnicodeDecodeError) as error:
        raise _cannot_decode(payload[4:], commands.Basic.Publish.index) from error
    return Publish(exchange, routing_key, bool(bits & 1), bool(bits & 2))


def _read_short_string(data: bytes, offset: int) -> tuple[str, int]:
    end = offset + 1 + data[offset]
    if end > len(data):
        raise IndexError
    return data[offset + 1 : end].decode(), end


def decode_content_header(frame: Frame) -> tuple[int, int, bytes]:
    """(class id, size of the body in bytes, flags and values of the properties as they are).

    Raises AmqpError 501 for a header that is cut short.
    """
    payload = frame.payload
    if len(payload) < 14:
        raise frame_error(frame, "unknown_frame")
    class_id, _, size_bytes = _CONTENT_START.unpack_from(payload)
    return class_id, size_bytes, payload[12:]


def decode_properties(raw: bytes) -> commands.Basic.Properties:
    """The properties of a message; raises AmqpError 502 for bytes that are none."""
    content = header.ContentHeader()
    try:
        content.unmarshal(_CONTENT_START.pack(BASIC_CLASS, 0, 0) + raw)
    except _DECODE_ERRORS_AND_DEPTH as error:
        raise AmqpError(Reply.SYNTAX_ERROR, "cannot read the message properties") from error
    return content.properties


def decode_table(data: bytes) -> FieldTable:
    """A field table that comes without its length (the response of AMQPLAIN)."""
    try:
        return decode.field_table(_INDEX.pack(len(data)) + data)[1]
    except _DECODE_ERRORS_AND_DEPTH as error:
        raise AmqpError(Reply.SYNTAX_ERROR, "cannot read a field table") from error


def encode_method(channel: int, method: base.Frame) -> bytes:
    """A method frame, by pamqp."""
    return pamqp_frame.marshal(method, channel)


def encode_raw_method(channel: int, index: int, arguments: bytes) -> bytes:
    """A method frame whose arguments are encoded already."""
    start = _FRAME_START.pack(METHOD, channel, len(arguments) + 4)
    return b"".join((start, _INDEX.pack(index), arguments, b"\xce"))


@lru_cache(maxsize=4096)
def short_string(text: str) -> bytes:
    """A length byte and the text in UTF-8; at most 255 bytes."""
    data = text.encode()
    return bytes((len(data),)) + data


def encode_deliver(
    channel: int, consumer_tag: str, delivery_tag: int, redelivered: bool, exchange: str, routing_key: str
) -> bytes:
    """basic.deliver."""
    return encode_raw_method(
        channel,
        commands.Basic.Deliver.index,
        short_string(consumer_tag)
        + _TAG_AND_BITS.pack(delivery_tag, redelivered)
        + short_string(exchange)
        + short_string(routing_key),
    )


def encode_get_ok(
    channel: int, delivery_tag: int, redelivered: bool, exchange: str, routing_key: str, ready: int
) -> bytes:
    """basic.get-ok; `ready` counts the messages that stay in the queue."""
    return encode_raw_method(
        channel,
        commands.Basic.GetOk.index,
        _TAG_AND_BITS.pack(delivery_tag, redelivered)
        + short_string(exchange)
        + short_string(routing_key)
        + _INDEX.pack(ready),
    )


def encode_return(channel: int, exchange: str, routing_key: str) -> bytes:
    """basic.return of a mandatory message that no queue took."""
    return encode_raw_method(
        channel,
        commands.Basic.Return.index,
        Reply.NO_ROUTE.to_bytes(2, "big")
        + short_string(Reply.NO_ROUTE.name)
        + short_string(exchange)
        + short_string(routing_key),
    )


def encode_declare_ok(channel: int, queue: str, ready: int, consumers: int) -> bytes:
    """queue.declare-ok."""
    counts = _INDEX.pack(ready) + _INDEX.pack(consumers)
    return encode_raw_method(channel, commands.Queue.DeclareOk.index, short_string(queue) + counts)


def encode_ack(channel: int, delivery_tag: int, multiple: bool) -> bytes:
    """basic.ack, a publisher confirm."""
    return encode_raw_method(channel, commands.Basic.Ack.index, _TAG_AND_BITS.pack(delivery_tag, multiple))


def encode_content(channel: int, properties: bytes, body: bytes, max_frame_bytes: int) -> bytes:
    """The header frame and as many body frames as `max_frame_bytes` asks for (none for an empty body)."""
    step = max_frame_bytes - FRAME_OVERHEAD_BYTES
    parts = [
        _FRAME_START.pack(HEADER, channel, len(properties) + 12),
        _CONTENT_START.pack(BASIC_CLASS, 0, len(body)),
        properties,
        b"\xce",
    ]
    for offset in range(0, len(body), step):
        chunk = body[offset : offset + step]
        parts += (_FRAME_START.pack(BODY, channel, len(chunk)), chunk, b"\xce")
    return b"".join(parts)
