"""The encoders and decoders that are written by hand, against pamqp, and bytes of all kinds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header

from chaoskit.broker.core import wire
from chaoskit.broker.core.errors import AmqpError, Reply
from chaoskit.broker.core.properties import with_headers

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_.: @#,/+", max_size=100)
TAGS = st.integers(1, 2**63 - 1)
CHANNELS = st.integers(0, 65535)
TABLES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=20)
    | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(st.text("abcx-", min_size=1, max_size=8), TABLES, max_size=4)


@given(CHANNELS, NAMES, TAGS, st.booleans(), NAMES, NAMES)
def test_a_delivery_reads_the_same_as_pamqp_would_write_it(
    channel: int, tag: str, delivery: int, redelivered: bool, exchange: str, key: str
) -> None:
    ours = wire.encode_deliver(channel, tag, delivery, redelivered, exchange, key)
    assert ours == frame.marshal(commands.Basic.Deliver(tag, delivery, redelivered, exchange, key), channel)


@given(CHANNELS, TAGS, st.booleans(), NAMES, NAMES, st.integers(0, 2**32 - 1))
def test_a_get_answer_reads_the_same_as_pamqp_would_write_it(
    channel: int, delivery: int, redelivered: bool, exchange: str, key: str, left: int
) -> None:
    ours = wire.encode_get_ok(channel, delivery, redelivered, exchange, key, left)
    assert ours == frame.marshal(commands.Basic.GetOk(delivery, redelivered, exchange, key, left), channel)


@given(CHANNELS, NAMES, NAMES, st.integers(0, 2**32 - 1), TAGS, st.booleans())
def test_the_other_encoders_read_the_same_as_pamqp(
    channel: int, name: str, key: str, count: int, tag: int, multiple: bool
) -> None:
    returned = commands.Basic.Return(312, "NO_ROUTE", name, key)
    assert wire.encode_return(channel, name, key) == frame.marshal(returned, channel)
    declared = commands.Queue.DeclareOk(name, count, count)
    assert wire.encode_declare_ok(channel, name, count, count) == frame.marshal(declared, channel)
    assert wire.encode_ack(channel, tag, multiple) == frame.marshal(commands.Basic.Ack(tag, multiple), channel)


@given(CHANNELS, st.binary(max_size=3000), st.integers(9, 300))
def test_contents_are_cut_into_frames_that_fit(channel: int, data: bytes, max_frame_bytes: int) -> None:
    raw = wire.encode_content(channel, b"\x00\x00", data, max_frame_bytes)
    expected = frame.marshal(header.ContentHeader(0, len(data)), channel)
    assert raw.startswith(expected)
    rest, received = raw[len(expected) :], b""
    while rest:
        size_bytes, number, item = frame.unmarshal(rest)
        assert isinstance(item, body.ContentBody)
        assert (size_bytes <= max_frame_bytes, number) == (True, channel)
        received += item.value
        rest = rest[size_bytes:]
    assert received == data


@given(NAMES, NAMES, st.booleans(), st.booleans(), TAGS)
def test_publishes_and_acks_are_read_as_pamqp_writes_them(
    exchange: str, key: str, mandatory: bool, flag: bool, tag: int
) -> None:
    sent = commands.Basic.Publish(0, exchange, key, mandatory, flag)
    read = wire.decode_method(wire.Frame(wire.METHOD, 1, frame.marshal(sent, 1)))
    assert read == wire.Publish(exchange, key, mandatory, flag)
    ack = wire.decode_method(wire.Frame(wire.METHOD, 1, frame.marshal(commands.Basic.Ack(tag, flag), 1)))
    assert ack == wire.Ack(tag, flag)


@pytest.mark.filterwarnings("ignore:This command is deprecated")
@given(st.binary(max_size=300), st.sampled_from(sorted(commands.INDEX_MAPPING)))
def test_a_method_with_any_arguments_is_read_or_refused(arguments: bytes, index: int) -> None:
    raw = wire.encode_raw_method(1, index, arguments)
    try:
        wire.decode_method(wire.Frame(wire.METHOD, 1, raw))
    except AmqpError as error:
        assert error.hard
        assert error.method_index == index


@given(st.binary(max_size=300))
def test_any_properties_are_read_or_refused(raw: bytes) -> None:
    try:
        wire.decode_properties(raw)
    except AmqpError as error:
        assert error.code == Reply.SYNTAX_ERROR


@pytest.mark.parametrize("depth", [10, 5000])
def test_deeply_nested_headers_do_not_break_the_broker(depth: int) -> None:
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + len(table).to_bytes(4, "big") + table
    raw = b"\x20\x00" + len(table).to_bytes(4, "big") + table
    if depth < 100:
        assert wire.decode_properties(raw).headers
    else:
        with pytest.raises(AmqpError):
            wire.decode_properties(raw)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.data())
def test_frames_are_found_however_the_stream_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame.marshal(body.ContentBody(payload), 3) for payload in payloads)
    reader, found, start = wire.FrameReader(4096), [], 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        reader.feed(stream[start:end])
        found += reader.drain()
        start = end
    assert [item.payload for item in found if isinstance(item, wire.Frame)] == payloads
    assert reader.buffered_bytes == 0


@given(HEADERS, HEADERS, st.none() | st.text("0123456789", min_size=1, max_size=5), st.none() | st.integers(0, 255))
def test_headers_are_replaced_and_everything_else_is_kept(
    old: dict[str, object], new: dict[str, object], expiration: str | None, priority: int | None
) -> None:
    # Field values of pamqp and of Hypothesis are the same, only their names as types differ.
    properties = commands.Basic.Properties(
        headers=old,  # type: ignore[arg-type]
        expiration=expiration,
        priority=priority,
        content_type="text/csv",
        message_id="m",
    )
    changed = wire.decode_properties(with_headers(properties.marshal(), new))  # type: ignore[arg-type]
    assert changed.headers == old | new
    assert (changed.priority, changed.content_type, changed.message_id) == (priority, "text/csv", "m")
    assert changed.expiration is None
