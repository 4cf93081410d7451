"""The core's connection: time limits, what it refuses to do, and clients that break off or send nonsense."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import body, commands, frame, header, heartbeat

from chaoskit.broker.core.connection import State

from .core_client import PROTOCOL_HEADER, CoreClient, World, content

CONSUME = commands.Basic.Consume(queue="q", consumer_tag="t")


def _world_with(count: int) -> World:
    """A queue `q` with so many messages."""
    world = World()
    client = world.client()
    client.call(commands.Queue.Declare(queue="q"))
    for number in range(count):
        client.publish("q", b"%d" % number)
    return world


def _ready(world: World, queue: str = "q") -> list[bytes]:
    return [entry.message.body for entry in world.vhost.queues[queue].ready]


def test_a_handshake_that_takes_too_long_is_ended() -> None:
    world = World(handshake_timeout_s=10.0)
    client = CoreClient(world)
    client.feed(PROTOCOL_HEADER)
    assert client.connection.next_deadline_s() == world.clock.now_s + 10
    client.connection.tick(world.clock.now_s + 9.9)
    assert client.state is State.START
    client.connection.tick(world.clock.now_s + 10)
    assert (client.state, client.connection.close_reason) == (State.CLOSED, "handshake timeout")


def test_without_heartbeats_an_open_connection_has_no_deadline() -> None:
    assert World().client(heartbeat_s=0).connection.next_deadline_s() is None


def test_heartbeats_are_sent_after_half_the_interval_of_silence() -> None:
    world = World()
    client = world.client(heartbeat_s=10)
    opened_s = world.clock.now_s
    assert client.connection.next_deadline_s() == opened_s + 5
    world.clock.now_s += 5
    client.connection.tick(world.clock.now_s)
    assert [type(item) for _, item in client.frames()] == [heartbeat.Heartbeat]
    assert client.connection.next_deadline_s() == opened_s + 10


def test_two_intervals_of_silence_end_the_connection_and_free_what_it_held() -> None:
    world = _world_with(3)
    client = world.client(heartbeat_s=10)
    client.send(CONSUME)
    assert len(client.deliveries()) == 3
    world.clock.now_s += 19
    client.feed(heartbeat.Heartbeat().marshal())
    client.connection.tick(world.clock.now_s + 19)
    assert client.state is State.RUNNING
    client.connection.tick(world.clock.now_s + 20)
    assert client.state is State.CLOSED
    assert client.connection.close_reason == "missed heartbeats from client, timeout: 10s"
    assert _ready(world) == [b"0", b"1", b"2"]


def test_a_client_that_never_answers_a_close_is_cut_off() -> None:
    world = World(close_timeout_s=5.0)
    client = world.client()
    client.send(commands.Channel.Open())
    assert client.state is State.CLOSING
    deadline_s = client.connection.next_deadline_s()
    assert deadline_s == world.clock.now_s + 5
    client.connection.tick(deadline_s)
    assert client.state is State.CLOSED
    assert client.connection.close_reason == "CHANNEL_ERROR - second 'channel.open' seen"


def test_messages_expire_with_the_time_that_is_passed_in() -> None:
    world = _world_with(0)
    client = world.client()
    client.publish("q", b"late", expiration="1500")
    client.publish("q", b"stays")
    assert world.vhost.next_expiry_s() == world.clock.now_s + 1.5
    world.advance(1.4)
    assert _ready(world) == [b"late", b"stays"]
    world.advance(0.2)
    assert _ready(world) == [b"stays"]
    assert world.vhost.next_expiry_s() is None


OMITTED: list[tuple[Any, str]] = [
    (commands.Tx.Select(), "tx.select"),
    (commands.Exchange.Bind(destination="a", source="b"), "exchange.bind"),
    (commands.Exchange.Declare(exchange="x", exchange_type="headers"), "a headers exchange"),
    (commands.Exchange.Declare(exchange="x", internal=True), "an internal exchange"),
    (commands.Exchange.Declare(exchange="x", arguments={"alternate-exchange": "y"}),
     "exchange argument alternate-exchange"),
    (commands.Queue.Declare(queue="x", arguments={"x-queue-type": "quorum"}), "queue argument x-queue-type='quorum'"),
    (commands.Queue.Declare(queue="x", arguments={"x-expires": 1000}), "queue argument x-expires=1000"),
    (commands.Queue.Declare(queue="x", arguments={"x-overflow": "reject-publish"}),
     "queue argument x-overflow='reject-publish'"),
    (commands.Basic.Consume(queue="q", arguments={"x-priority": 1}), "consumer argument x-priority"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "what"), OMITTED, ids=[what for _, what in OMITTED])
def test_what_the_broker_does_not_do_is_refused_by_name(method: Any, what: str) -> None:
    close = _world_with(0).client().call(method)
    assert isinstance(close, commands.Connection.Close)
    assert close.reply_text == f"NOT_IMPLEMENTED - {what} is not implemented by the embedded broker"
    assert close.reply_code == 540


def test_a_message_beyond_the_limit_closes_the_channel_before_its_body_is_kept() -> None:
    world = World(max_message_bytes=10)
    client = world.client()
    client.call(commands.Queue.Declare(queue="q"))
    client.publish("q", b"0123456789")
    client.publish("q", b"0123456789a")
    (close,) = client.methods()
    assert close.reply_text == "PRECONDITION_FAILED - message size 11 is larger than configured max size 10"
    assert _ready(world) == [b"0123456789"]


def test_a_body_longer_than_its_header_says_ends_the_connection() -> None:
    client = _world_with(0).client()
    client.send(*content("q", b"")[:1], header.ContentHeader(body_size=3), body.ContentBody(b"12345"))
    (close,) = client.methods()
    assert (close.reply_code, close.class_id, close.method_id) == (505, 60, 40)
    assert close.reply_text == "UNEXPECTED_FRAME - content body of 5 bytes, the content header says 3"


def test_confirms_of_one_piece_of_input_are_sent_as_one() -> None:
    client = _world_with(0).client()
    client.call(commands.Confirm.Select())
    client.send(*[item for number in range(20) for item in content("q", b"%d" % number)])
    (ack,) = client.methods()
    assert (ack.delivery_tag, ack.multiple) == (20, True)


def test_confirms_are_sent_before_a_channel_is_closed() -> None:
    client = _world_with(0).client()
    client.call(commands.Confirm.Select())
    client.send(*content("q", b"x"), commands.Channel.Close(200, "", 0, 0))
    assert [type(item) for item in client.methods()] == [commands.Basic.Ack, commands.Channel.CloseOk]


def test_output_wakes_the_socket_once_until_it_is_taken() -> None:
    world = _world_with(5)
    client = world.client()
    before = client.woken
    client.send(CONSUME)
    assert client.woken == before + 1
    client.frames()
    world.client().publish("q", b"more")
    assert client.woken == before + 2


def _session() -> bytes:
    """A client's whole life in bytes, from the handshake to a message that is half sent."""
    opening = frame.marshal
    return b"".join(
        (
            PROTOCOL_HEADER,
            opening(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest"), 0),
            opening(commands.Connection.TuneOk(2047, 131072, 0), 0),
            opening(commands.Connection.Open("/"), 0),
            opening(commands.Channel.Open(), 1),
            opening(commands.Queue.Declare(queue="mine", exclusive=True), 1),
            opening(commands.Queue.Declare(queue="brief", auto_delete=True), 1),
            opening(commands.Basic.Consume(queue="brief", consumer_tag="b"), 1),
            opening(commands.Basic.Qos(prefetch_count=2), 1),
            opening(CONSUME, 1),
            *(opening(item, 1) for item in content("mine", b"hello")),
            opening(commands.Basic.Ack(1), 1),
            opening(commands.Basic.Nack(2, False, True), 1),
            *(opening(item, 1) for item in content("mine", b"half")[:2]),
        )
    )


def test_a_client_killed_at_any_byte_loses_nothing_and_leaves_nothing() -> None:
    session = _session()
    for cut in range(len(session) + 1):
        world = _world_with(4)
        client = CoreClient(world)
        client.feed(session[:cut])
        client.connection.lost(None, world.clock.now_s)
        assert client.state is State.CLOSED
        assert client.connection.close_reason is not None
        assert set(world.vhost.queues) <= {"q", "brief"}, cut
        queue = world.vhost.queues["q"]
        acknowledged = cut >= session.index(frame.marshal(commands.Basic.Ack(1), 1)) + 21
        assert _ready(world) == [b"0", b"1", b"2", b"3"][acknowledged:], cut
        assert (queue.unacked, len(queue.consumers)) == (0, 0), cut


def test_a_client_that_is_fed_byte_by_byte_is_understood() -> None:
    session = _session()
    world = _world_with(4)
    client = CoreClient(world)
    for octet in session:
        client.feed(bytes((octet,)))
    assert client.state is State.RUNNING
    assert _ready(world, "mine") == [b"hello"]


def test_a_broken_off_client_is_described() -> None:
    world = _world_with(0)
    client = world.client()
    client.feed(b"\x01\x00\x01\x00\x00\x00\x20half")
    client.connection.lost(None, world.clock.now_s)
    assert client.connection.close_reason == "client closed the socket without connection.close, 11 bytes into a frame"


def _unharmed(world: World) -> None:
    """The queue still has its messages and serves a new client."""
    last = world.client()
    last.send(commands.Basic.Consume(queue="q", consumer_tag="last", no_ack=True))
    assert [delivery.body for delivery in last.deliveries()] == [b"0", b"1", b"2"]


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_nonsense_instead_of_frames_harms_nobody(nonsense: bytes) -> None:
    world = _world_with(3)
    client = world.client()
    client.send(CONSUME)
    client.feed(nonsense)
    client.connection.lost(None, world.clock.now_s)
    _unharmed(world)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_nonsense_in_the_handshake_harms_nobody(nonsense: bytes) -> None:
    world = _world_with(3)
    client = CoreClient(world)
    client.feed(PROTOCOL_HEADER + nonsense)
    client.connection.lost(None, world.clock.now_s)
    _unharmed(world)


@settings(deadline=None, max_examples=300)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_flipped_bytes_in_a_good_session_harm_nobody(rng: random.Random, flips: int) -> None:
    session = bytearray(_session())
    for _ in range(flips):
        session[rng.randrange(len(session))] = rng.randrange(256)
    world = _world_with(3)
    client = CoreClient(world)
    client.feed(bytes(session))
    client.connection.lost(None, world.clock.now_s)
    queue = world.vhost.queues.get("q")
    # A flip may turn a subscription into one without acknowledgements: but nothing stays held, and order is kept.
    assert queue is not None
    assert (queue.unacked, len(queue.consumers)) == (0, 0)
    known = [found for found in _ready(world) if found in (b"0", b"1", b"2")]
    assert known == sorted(set(known))
    assert not [queue for queue in world.vhost.queues.values() if queue.exclusive]


def test_after_the_broker_closed_a_connection_its_input_is_ignored() -> None:
    world = _world_with(0)
    client = world.client()
    client.send(commands.Channel.Open())
    client.publish("q", b"ignored")
    assert _ready(world) == []
    client.send(commands.Connection.CloseOk(), channel=0)
    assert client.state is State.CLOSED
    client.publish("q", b"ignored")
    assert _ready(world) == []
