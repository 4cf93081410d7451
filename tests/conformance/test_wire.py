"""Frames: limits on their size, bodies of many frames, broken and misplaced ones."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from pamqp import body, commands, frame, header

from .raw_client import Closed, RawClient

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


def _frame(kind: int, payload: bytes, channel: int = 1, end: bytes = b"\xce") -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def _refusal(client: RawClient) -> tuple[int | None, str]:
    close = client.expect(commands.Connection.Close)
    # RabbitMQ breaks long terms into lines.
    return close.reply_code, " ".join((close.reply_text or "").split())


@pytest.mark.parametrize("size_bytes", [0, 1, 8183, 8184, 8185, 24_552, 100_000])
def test_a_body_comes_back_in_frames_that_fit(
    raw: Callable[[], RawClient], name: Callable[[], str], size_bytes: int
) -> None:
    client = raw()
    client.open(frame_max=8192)
    client.channel()
    queue, sent = name(), bytes(number % 251 for number in range(size_bytes))
    client.declare(queue)
    client.publish(queue, sent)
    client.send(commands.Basic.Get(queue=queue, no_ack=True))
    client.expect(commands.Basic.GetOk)
    head, received, frames = client.expect_content()
    assert (head.body_size, received) == (size_bytes, sent)
    whole, rest = divmod(size_bytes, 8184)
    assert frames == [8184] * whole + ([rest] if rest else [])


def test_a_large_message_travels_between_connections_of_different_frame_sizes(
    raw: Callable[[], RawClient], name: Callable[[], str]
) -> None:
    queue, sent = name(), bytes(range(256)) * 4096
    small, large = raw(), raw()
    small.open(frame_max=8192)
    large.open(frame_max=131072)
    small.channel()
    large.channel()
    small.declare(queue)
    small.publish(queue, sent)
    large.send(commands.Basic.Consume(queue=queue, consumer_tag="t", no_ack=True))
    large.expect(commands.Basic.ConsumeOk)
    large.expect(commands.Basic.Deliver)
    _, received, frames = large.expect_content()
    assert received == sent
    assert frames == [131064] * 8 + [64]


def test_a_message_may_come_byte_by_byte(wire: RawClient, name: Callable[[], str]) -> None:
    queue = name()
    wire.declare(queue)
    message = [
        commands.Basic.Publish(routing_key=queue),
        header.ContentHeader(0, 5, commands.Basic.Properties(content_type="text/plain")),
        body.ContentBody(b"he"),
        body.ContentBody(b"llo"),
        commands.Basic.Get(queue=queue, no_ack=True),
    ]
    for octet in b"".join(frame.marshal(item, 1) for item in message):
        wire.send_bytes(bytes((octet,)))
    wire.expect(commands.Basic.GetOk)
    head, received, _ = wire.expect_content()
    assert (head.properties.content_type, received) == ("text/plain", b"hello")


def test_contents_of_two_channels_may_be_interleaved(wire: RawClient, name: Callable[[], str]) -> None:
    queue = name()
    wire.declare(queue)
    wire.channel(2)
    for channel in (1, 2):
        wire.send(commands.Basic.Publish(routing_key=queue), header.ContentHeader(body_size=4), channel=channel)
    for channel, part in ((1, b"on"), (2, b"tw"), (2, b"o2"), (1, b"e1")):
        wire.send(body.ContentBody(part), channel=channel)
    # A round trip on each channel: both messages have reached the queue.
    wire.declare(queue, channel=2)
    assert wire.declare(queue).message_count == 2
    received = []
    for _ in range(2):
        wire.send(commands.Basic.Get(queue=queue, no_ack=True))
        wire.expect(commands.Basic.GetOk)
        received.append(wire.expect_content()[1])
    assert sorted(received) == [b"one1", b"two2"]


def test_properties_and_headers_come_back_bit_by_bit(wire: RawClient, name: Callable[[], str]) -> None:
    queue = name()
    wire.declare(queue)
    entries = [
        b"\x01tt\x01",
        b"\x01bb\xff",
        b"\x01ss\xff\xfe",
        b"\x01II\xff\xff\xff\xfe",
        b"\x01ll" + struct.pack(">q", -2),
        b"\x01dd" + struct.pack(">d", 1.5),
        b"\x01SS\x00\x00\x00\x02\xc3\xa4",
        b"\x01VV",
        b"\x01TT" + struct.pack(">Q", 1_700_000_000),
        b"\x01xx\x00\x00\x00\x02\x00\xff",
        b"\x01AA\x00\x00\x00\x05I\x00\x00\x00\x07",
        b"\x01FF\x00\x00\x00\x04\x01ab\x05",
    ]
    table = b"".join(entries)
    values = b"\x04text\x04gzip" + struct.pack(">I", len(table)) + table + b"\x02\x05\x01c\x01r\x0560000\x01m"
    values += struct.pack(">Q", 1_700_000_001) + b"\x01t\x05guest\x01a"
    flags = struct.pack(">H", 0b1111_1111_1111_1000)
    sent = struct.pack(">HHQ", 60, 0, 0) + flags + values
    wire.send(commands.Basic.Publish(routing_key=queue))
    wire.send_bytes(_frame(HEADER, sent))
    wire.send(commands.Basic.Get(queue=queue, no_ack=True))
    wire.expect(commands.Basic.GetOk)
    received, expected = wire.receive_raw(), _frame(HEADER, sent)
    # RabbitMQ 4 hands the entries of a table on in an order of its own; nothing else may change.
    before, _, after = expected.partition(table)
    assert received.startswith(before) and received.endswith(after)
    assert len(received) == len(expected)
    assert [entry for entry in entries if entry not in received] == []


def test_a_frame_of_the_agreed_size_is_taken(wire: RawClient) -> None:
    wire.send(
        commands.Basic.Publish(routing_key="nowhere"),
        header.ContentHeader(body_size=131064),
        body.ContentBody(bytes(131064)),
    )
    assert wire.declare(exclusive=True).message_count == 0


def test_a_frame_beyond_the_agreed_size_is_refused_by_its_length_alone(wire: RawClient) -> None:
    wire.send_bytes(struct.pack(">BHI", METHOD, 1, 200_000))
    assert _refusal(wire) == (501, "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,200000,131064}")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "type 71, all octets = <<>>: {frame_too_large,539959368,131064}"),
        (_frame(METHOD, b"\x00\x01"), "type 1, all octets = <<0,1>>: unknown_frame"),
        (_frame(HEARTBEAT, b"a", 0), 'type 8, all octets = <<"a">>: unknown_frame'),
        (_frame(METHOD, b"\x00\x32\x00\x0a\x00\x00", end=b"\x00"),
         "type 1, all octets = <<0,50,0,10,0,0>>: {invalid_frame_end_marker,0}"),
        (_frame(METHOD, b"\x00\x32\x00\x0a\x00\x00"), "cannot decode <<0,0>>"),
    ],
    ids=["http", "no method", "heartbeat with payload", "end marker", "truncated arguments"],
)  # fmt: skip
def test_what_is_no_frame_ends_the_connection_with_the_reason(wire: RawClient, sent: bytes, text: str) -> None:
    wire.send_bytes(sent)
    assert _refusal(wire) == (501, f"FRAME_ERROR - {text}")


_PUBLISH = commands.Basic.Publish(routing_key="a")
_DECLARE = commands.Queue.Declare(queue="a")


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([header.ContentHeader(body_size=1)], "expected method frame, got non method frame instead"),
        ([body.ContentBody(b"1")], "expected method frame, got non method frame instead"),
        ([_PUBLISH, _DECLARE], "expected content header for class 60, got non content header frame instead"),
        ([_PUBLISH, body.ContentBody(b"1")],
         "expected content header for class 60, got non content header frame instead"),
        ([_PUBLISH, header.ContentHeader(body_size=3), _DECLARE],
         "expected content body, got non content body frame instead"),
        ([_PUBLISH, header.ContentHeader(body_size=3), header.ContentHeader(body_size=3)],
         "expected content body, got non content body frame instead"),
    ],
    ids=["header", "body", "method for header", "body for header", "method for body", "header for body"],
)  # fmt: skip
def test_frames_out_of_turn_end_the_connection(wire: RawClient, frames: list[object], text: str) -> None:
    wire.send(*frames)
    assert _refusal(wire) == (505, f"UNEXPECTED_FRAME - {text}")


def test_a_content_header_of_another_class_ends_the_connection(wire: RawClient) -> None:
    wire.send(_PUBLISH)
    wire.send_bytes(_frame(HEADER, struct.pack(">HHQH", 50, 0, 1, 0)))
    text = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead"
    assert _refusal(wire) == (505, text)


@pytest.mark.parametrize(
    ("method", "channel", "code", "text"),
    [
        (_DECLARE, 7, 504, "CHANNEL_ERROR - expected 'channel.open'"),
        (commands.Channel.Close(200, "", 0, 0), 7, 504, "CHANNEL_ERROR - expected 'channel.open'"),
        (commands.Channel.Open(), 1, 504, "CHANNEL_ERROR - second 'channel.open' seen"),
        (_DECLARE, 0, 504, "CHANNEL_ERROR - unexpected method in connection state running"),
        (commands.Basic.GetEmpty(), 1, 503, "COMMAND_INVALID - unimplemented method"),
        (commands.Connection.Close(200, "", 0, 0), 1, 503, "COMMAND_INVALID - unimplemented method"),
    ],
    ids=["channel not open", "close of no channel", "open twice", "channel zero", "broker's method", "wrong channel"],
)
def test_methods_on_the_wrong_channel_end_the_connection(
    wire: RawClient, method: object, channel: int, code: int, text: str
) -> None:
    wire.send(method, channel=channel)
    assert _refusal(wire) == (code, text)


def test_a_body_frame_on_channel_zero_ends_the_connection(wire: RawClient) -> None:
    wire.send(body.ContentBody(b"1"), channel=0)
    assert _refusal(wire) == (505, 'UNEXPECTED_FRAME - type 3, all octets = <<"1">>')


@pytest.mark.parametrize("index", [(60, 199), (99, 10)], ids=["method", "class"])
def test_an_unknown_method_ends_the_connection(wire: RawClient, index: tuple[int, int]) -> None:
    wire.send_bytes(_frame(METHOD, struct.pack(">HH", *index)))
    wire.send(commands.Connection.CloseOk(), channel=0)
    assert all(isinstance(item, commands.Connection.Close) for item in wire.rest())


def test_unreadable_properties_end_the_connection(wire: RawClient) -> None:
    wire.send(_PUBLISH)
    wire.send_bytes(_frame(HEADER, struct.pack(">HHQH", 60, 0, 0, 0xFFFE) + b"\x05ab"))
    assert wire.expect(commands.Connection.Close).reply_code is not None


def test_after_its_refusal_the_broker_waits_for_the_close_ok(wire: RawClient) -> None:
    wire.send(commands.Channel.Open())
    wire.expect(commands.Connection.Close)
    wire.send(_DECLARE)
    wire.send(commands.Connection.CloseOk(), channel=0)
    with pytest.raises(Closed):
        wire.receive()
