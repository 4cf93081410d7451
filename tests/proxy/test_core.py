"""The core without sockets: bytes in, bytes out."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pamqp import commands, frame, header

from chaoskit.proxy import FORWARD, Counts, Delay, Drop, Topology, wire
from chaoskit.proxy.conversation import Conversation
from chaoskit.proxy.topology import Binding, topic_matches

HOLD_LIMIT_BYTES = 2000
NAMES = st.text(max_size=20)
PATTERN = bytes(range(256)) * 12
Basic, Queue, Exchange = commands.Basic, commands.Queue, commands.Exchange


# The machine may be busy with other tests; how long an example takes says nothing here.
settings.register_profile("proxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("proxy")


def conversation(answer=lambda seen: FORWARD, topology=None):
    seen, changes = [], []

    def on_message(message):
        seen.append(message)
        return answer(message)

    made = Conversation("worker", on_message, changes.append, Counts(), topology or Topology(), HOLD_LIMIT_BYTES)
    return made, seen, changes


def content(method, body, pieces=1, channel=1, **properties):
    """The raw frames of a message, its body in as many frames as asked for."""
    step = max(1, -(-len(body) // pieces))
    opening = header.ContentHeader(body_size=len(body), properties=Basic.Properties(**properties))
    return [
        frame.marshal(method, channel),
        frame.marshal(opening, channel),
        *(wire.make_frame(wire.BODY, channel, body[at : at + step]) for at in range(0, len(body), step)),
    ]


def publish(body, pieces=1, channel=1, exchange="", routing_key="q", **properties):
    return content(Basic.Publish(exchange=exchange, routing_key=routing_key), body, pieces, channel, **properties)


def deliver(body, tag, pieces=1, channel=1, **properties):
    return content(Basic.Deliver("tag", tag, False, "", "q"), body, pieces, channel, **properties)


@st.composite
def messages(draw, channels):
    make = draw(st.sampled_from([publish, lambda *a, **k: deliver(*a, **k, tag=1)]))
    return make(
        PATTERN[: draw(st.integers(0, 3000))],
        pieces=draw(st.integers(1, 4)),
        channel=draw(channels),
        message_id=draw(NAMES),
        headers=draw(st.dictionaries(st.text(max_size=5), st.integers(-9, 9), max_size=3)),
    )


def methods(channels):
    fixed = [
        Queue.Declare(queue="q"),
        Queue.DeclareOk("q", 0, 0),
        Queue.Bind(queue="q", exchange="x", routing_key="k"),
        Queue.BindOk(),
        Basic.Consume(queue="q", consumer_tag="tag"),
        Basic.ConsumeOk("tag"),
        Basic.Cancel("tag"),
        Basic.CancelOk("tag"),
        Basic.Get(queue="q"),
        Basic.GetEmpty(),
        Basic.Ack(1, True),
        Basic.Nack(0, True, True),
        Basic.Reject(1, True),
        commands.Confirm.Select(),
        commands.Channel.Open(),
        commands.Channel.Close(404, "NOT_FOUND", 60, 40),
        commands.Channel.CloseOk(),
        commands.Connection.TuneOk(0, 4096, 60),
    ]
    return st.builds(lambda method, channel: [frame.marshal(method, channel)], st.sampled_from(fixed), channels)


def strange_frames(channels):
    """Frames that are well formed and mean nothing, or have fields that reach beyond their end."""
    interesting = st.sampled_from(sorted(commands.INDEX_MAPPING)).map(lambda index: index.to_bytes(4, "big"))
    payloads = st.one_of(
        st.binary(max_size=40), st.builds(lambda index, rest: index + rest, interesting, st.binary(max_size=20))
    )
    kinds = st.sampled_from([wire.METHOD, wire.HEADER, wire.BODY, wire.HEARTBEAT])
    return st.builds(lambda kind, channel, load: [wire.make_frame(kind, channel, load)], kinds, channels, payloads)


def streams(channels):
    parts = st.one_of(messages(channels), methods(channels), strange_frames(channels))
    return st.lists(parts, max_size=8)


def pieces_of(stream, rng):
    at = 0
    while at < len(stream):
        step = rng.choice([1, 2, 7, 8, 100, 5000])
        yield stream[at : at + step]
        at += step


def run(lane, stream, rng):
    chunks = []
    for piece in pieces_of(stream, rng):
        chunks += lane.feed(piece).chunks
    out = lane.finish()
    assert out.ended
    return b"".join(chunks + out.chunks)


@given(
    parts=streams(st.just(1)),
    opening=st.sampled_from([b"", b"AMQP\x00\x00\x09\x01"]),
    tail=st.binary(max_size=20),
    lost_bytes=st.integers(0, 50),
    rng=st.randoms(use_true_random=False),
)
def test_whatever_comes_in_whatever_pieces_goes_out_unchanged(parts, opening, tail, lost_bytes, rng):
    stream = opening + b"".join(raw for part in parts for raw in part) + tail
    stream = stream[: max(0, len(stream) - lost_bytes)]
    for side in ("client_lane", "broker_lane"):
        assert run(getattr(conversation()[0], side), stream, rng) == stream


@given(stream=st.binary(max_size=300), rng=st.randoms(use_true_random=False))
def test_bytes_that_are_no_amqp_go_out_unchanged(stream, rng):
    assert run(conversation()[0].client_lane, stream, rng) == stream


@given(
    parts=streams(st.just(1)),
    others=streams(st.just(2)),
    rng=st.randoms(use_true_random=False),
)
def test_channels_that_interleave_keep_their_own_order_and_lose_nothing(parts, others, rng):
    waiting = [[raw for part in stream for raw in part] for stream in (parts, others)]
    inputs = [b"".join(raws) for raws in waiting]
    mixed = b""
    while any(waiting):
        mixed += rng.choice([raws for raws in waiting if raws]).pop(0)
    result = run(conversation()[0].client_lane, mixed, rng)
    splitter, outputs = wire.Splitter(1 << 20), {1: b"", 2: b""}
    splitter.feed(result)
    while found := splitter.next_frame():
        outputs[found.channel] += found.raw
    assert [outputs[1], outputs[2]] == inputs


@given(parts=st.lists(messages(st.just(1)), min_size=1, max_size=5), rng=st.randoms(use_true_random=False))
def test_a_delay_keeps_order_and_content(parts, rng):
    stream = b"".join(raw for part in parts for raw in part)
    lane = conversation(lambda seen: Delay(1.0))[0].client_lane
    chunks = []
    for piece in pieces_of(stream, rng):
        out = lane.feed(piece)
        chunks += out.chunks
        while out.wait_s is not None:
            out = lane.resume()
            chunks += out.chunks
    assert b"".join(chunks + lane.finish().chunks) == stream


def test_the_end_of_a_stream_waits_for_a_delay():
    lane = conversation(lambda seen: Delay(1.0))[0].client_lane
    first, second = b"".join(publish(b"1")), b"".join(publish(b"2"))
    assert lane.feed(first + second + b"\x01").wait_s == 1.0
    assert not lane.finish().ended
    out = lane.resume()
    assert (b"".join(out.chunks), out.wait_s, out.ended) == (first, 1.0, False)
    out = lane.resume()
    assert (b"".join(out.chunks), out.ended) == (second + b"\x01", True)


def test_nothing_of_a_message_goes_on_before_it_is_whole_and_seen():
    made, seen, _ = conversation()
    frames = publish(b"x" * 1000, pieces=4)
    for raw in frames[:-1]:
        assert made.client_lane.feed(raw).chunks == []
    assert seen == []
    assert b"".join(made.client_lane.feed(frames[-1]).chunks) == b"".join(frames)
    assert [message.size_bytes for message in seen] == [1000]


def test_other_channels_do_not_wait_for_a_message_that_is_held():
    made, _, _ = conversation()
    made.client_lane.feed(publish(b"x")[0])
    heartbeat = wire.make_frame(wire.HEARTBEAT, 0, b"")
    assert made.client_lane.feed(heartbeat).chunks == [heartbeat]


def test_a_message_that_is_too_large_to_hold_is_dropped_whole():
    lane = conversation(lambda seen: Drop())[0].client_lane
    large, after = publish(b"x" * (HOLD_LIMIT_BYTES + 1), pieces=3), frame.marshal(Queue.Purge(queue="q"), 1)
    assert run(lane, b"".join(large) + after, random.Random(0)) == after


def test_a_frame_that_claims_to_be_endless_is_not_waited_for():
    made, _, changes = conversation()
    start = b"AMQP\x00\x00\x09\x01" + b"\x01\x00\x01\xff\xff\xff\xff"
    assert b"".join(made.client_lane.feed(start).chunks) == start
    assert [change.kind for change in changes] == ["opaque"]


def test_the_largest_frame_is_the_negotiated_one():
    made, _, changes = conversation()
    made.client_lane.feed(frame.marshal(commands.Connection.TuneOk(0, 4096, 0), 0))
    made.broker_lane.feed(wire.make_frame(wire.METHOD, 1, b"x" * 4088))
    assert changes == []
    made.broker_lane.feed(wire.make_frame(wire.METHOD, 1, b"x" * 4089))
    assert [change.kind for change in changes] == ["opaque"]


def confirms(conversation_, *methods_):
    """What the publisher gets of the broker's confirms: (method, tag, multiple)."""
    out = conversation_.broker_lane.feed(b"".join(frame.marshal(method, 1) for method in methods_))
    stream, found = b"".join(out.chunks), []
    while stream:
        used, _, method = frame.unmarshal(stream)
        stream = stream[used:]
        found.append((method.name, method.delivery_tag, method.multiple))
    return found


def select_and_publish(made, count):
    made.client_lane.feed(frame.marshal(commands.Confirm.Select(), 1))
    for number in range(count):
        made.client_lane.feed(b"".join(publish(b"%d" % number)))


def test_confirms_are_renumbered_after_a_drop_so_that_only_the_dropped_one_is_missing():
    made, seen, _ = conversation(lambda message: Drop() if message.preview == b"2" else FORWARD)
    select_and_publish(made, 5)
    assert confirms(made, Basic.Ack(1), Basic.Nack(2), Basic.Ack(4, True)) == [
        ("Basic.Ack", 1, False),
        ("Basic.Nack", 2, False),
        ("Basic.Ack", 4, False),
        ("Basic.Ack", 5, False),
    ]
    assert [(s.kind, s.delivery_tag, s.preview) for s in seen if s.kind != "published"] == [
        ("confirmed", 1, b"0"),
        ("unconfirmed", 2, b"1"),
        ("confirmed", 4, b"3"),
        ("confirmed", 5, b"4"),
    ]


def test_confirms_pass_as_they_are_while_nothing_was_dropped():
    made, _, _ = conversation()
    select_and_publish(made, 3)
    assert confirms(made, Basic.Ack(3, True)) == [("Basic.Ack", 3, True)]


def test_dropping_what_the_broker_sent_is_refused():
    made, _, _ = conversation(lambda seen: Drop())
    with pytest.raises(ValueError, match="Drop is for what the client sends"):
        made.broker_lane.feed(b"".join(deliver(b"x", 1)))


def test_a_refused_binding_is_not_learned():
    topology = Topology()
    made, _, _ = conversation(topology=topology)
    bind = Queue.Bind(queue="q", exchange="amq.direct", routing_key="k")
    made.client_lane.feed(frame.marshal(bind, 1))
    made.broker_lane.feed(frame.marshal(commands.Channel.Close(404, "NOT_FOUND", 50, 20), 1))
    made.client_lane.feed(frame.marshal(commands.Channel.CloseOk(), 1))
    assert topology.resolve("amq.direct", "k") == ()
    made.client_lane.feed(frame.marshal(bind, 1))
    made.broker_lane.feed(frame.marshal(Queue.BindOk(), 1))
    assert topology.resolve("amq.direct", "k") == ("q",)


@given(
    properties=st.fixed_dictionaries(
        {},
        optional={
            "content_type": st.text(max_size=9),
            "content_encoding": st.text(max_size=9),
            "headers": st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3),
            "delivery_mode": st.integers(1, 2),
            "priority": st.integers(0, 9),
            "correlation_id": st.text(max_size=9),
            "reply_to": st.text(max_size=9),
            "expiration": st.text(max_size=9),
            "message_id": st.text(max_size=60),
            "message_type": st.text(max_size=9),
            "app_id": st.text(max_size=9),
        },
    )
)
def test_the_message_id_is_found_among_any_properties(properties):
    raw = frame.marshal(header.ContentHeader(body_size=0, properties=Basic.Properties(**properties)), 1)
    assert wire.read_message_id(raw) == properties.get("message_id", "")


# pamqp refuses to write names that it finds unusual.
PLAIN_NAMES = st.text(alphabet="abcXYZ019-_.:", max_size=60)


@given(exchange=PLAIN_NAMES, routing_key=st.text(max_size=60), tag=NAMES, number=st.integers(0, 2**63 - 1))
def test_the_fields_of_frequent_methods_are_read_as_pamqp_writes_them(exchange, routing_key, tag, number):
    sent = frame.marshal(Basic.Publish(exchange=exchange, routing_key=routing_key), 1)
    assert wire.make_publish(1, exchange, routing_key) == sent
    assert wire.read_publish(sent) == (exchange, routing_key)
    delivered = frame.marshal(Basic.Deliver(tag, number, True, exchange, routing_key), 1)
    assert wire.read_deliver(delivered) == (tag, number, True, exchange, routing_key)
    got = frame.marshal(Basic.GetOk(number, False, exchange, routing_key, 7), 1)
    assert wire.read_get_ok(got) == ("", number, False, exchange, routing_key)
    returned = frame.marshal(Basic.Return(312, tag, exchange, routing_key), 1)
    assert wire.read_return(returned) == (exchange, routing_key)
    assert wire.read_settle(frame.marshal(Basic.Nack(number, True, False), 1)) == (number, True)
    assert wire.read_settle(frame.marshal(Basic.Reject(number, True), 1)) == (number, False)


def naive_topic_matches(pattern, words):
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(naive_topic_matches(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and naive_topic_matches(pattern[1:], words[1:])


@given(
    pattern=st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=6),
    words=st.lists(st.sampled_from(["a", "b", "c"]), max_size=6),
)
def test_topics_match_as_their_definition_says(pattern, words):
    assert topic_matches(".".join(pattern), ".".join(words)) == naive_topic_matches(pattern, words)


def test_a_message_is_followed_through_exchanges_that_are_bound_in_a_circle():
    topology = Topology()
    for name in ("one", "two"):
        topology.declare_exchange(name, "fanout")
    topology.bind("one", Binding("", "two", True))
    topology.bind("two", Binding("", "one", True))
    topology.bind("two", Binding("", "q", False))
    assert topology.resolve("one", "k") == ("q",)
    topology.delete_exchange("two")
    assert topology.resolve("one", "k") == ()
