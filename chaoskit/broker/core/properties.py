"""Surgery on encoded message properties: replace headers, drop the expiration, leave every other byte alone.

Decoding and encoding again would change the types of numbers and strings in headers (pamqp picks the narrowest), and a
typed client would notice. It expects properties that `wire.decode_properties` has accepted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime

from pamqp import commands, encode
from pamqp.common import FieldTable, FieldValue

_PROPERTIES = commands.Basic.Properties
_FIXED_BYTES = {
    **dict.fromkeys(b"tbB", 1),
    **dict.fromkeys(b"su", 2),
    **dict.fromkeys(b"Iif", 4),
    **dict.fromkeys(b"lLdT", 8),
    **dict.fromkeys(b"D", 5),
    **dict.fromkeys(b"V\x00", 0),
}
_LENGTH = struct.Struct(">I")


def with_headers(raw: bytes, headers: FieldTable) -> bytes:
    """The properties with these headers set, the header `CC` of old deaths kept, and without expiration."""
    values = _split(raw)
    values["headers"] = _merge(values.get("headers", _LENGTH.pack(0)), headers)
    values.pop("expiration", None)
    flags = 0
    for name in values:
        flags |= _PROPERTIES.flags[name]
    ordered = [values[name] for name in _PROPERTIES.__slots__ if name in values]
    return flags.to_bytes(2, "big") + b"".join(ordered)


def _split(raw: bytes) -> dict[str, bytes]:
    flags, offset = int.from_bytes(raw[:2], "big"), 2
    values = {}
    for name in _PROPERTIES.__slots__:
        if flags & _PROPERTIES.flags[name]:
            end = offset + _property_bytes(_PROPERTIES.amqp_type(name), raw, offset)
            values[name] = raw[offset:end]
            offset = end
    return values


def _property_bytes(kind: str, raw: bytes, offset: int) -> int:
    if kind == "shortstr":
        return 1 + raw[offset]
    if kind == "table":
        return 4 + int(_LENGTH.unpack_from(raw, offset)[0])
    return {"octet": 1, "timestamp": 8}[kind]


def _merge(table: bytes, headers: FieldTable) -> bytes:
    kept = [item for key, item in _items(table) if key not in headers]
    added = [_encode_item(key, value) for key, value in headers.items()]
    items = b"".join(kept + added)
    return _LENGTH.pack(len(items)) + items


def _items(table: bytes) -> Iterator[tuple[str, bytes]]:
    offset = 4
    while offset < len(table):
        kind_at = offset + 1 + table[offset]
        kind = table[kind_at]
        size = _FIXED_BYTES.get(kind)
        if size is None:
            size = 4 + int(_LENGTH.unpack_from(table, kind_at + 1)[0])
        end = kind_at + 1 + size
        yield table[offset + 1 : kind_at].decode(), table[offset:end]
        offset = end


def _encode_item(key: str, value: FieldValue) -> bytes:
    name = key.encode()
    return bytes((len(name),)) + name + _encode_value(value)


def _encode_value(value: FieldValue) -> bytes:
    # RabbitMQ writes counts as 64-bit numbers, and typed clients rely on it.
    if isinstance(value, int) and not isinstance(value, bool):
        return b"l" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, str | bytes):
        return _sized(b"S", value.encode() if isinstance(value, str) else bytes(value))
    if isinstance(value, datetime):
        return b"T" + struct.pack(">Q", int(value.timestamp()))
    if isinstance(value, list):
        return _sized(b"A", b"".join(_encode_value(item) for item in value))
    if isinstance(value, dict):
        return _sized(b"F", b"".join(_encode_item(key, item) for key, item in value.items()))
    return encode.encode_table_value(value)


def _sized(kind: bytes, data: bytes) -> bytes:
    return kind + _LENGTH.pack(len(data)) + data
