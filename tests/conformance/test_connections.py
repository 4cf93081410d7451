"""The handshake, refused logins, heartbeats and the end of connections."""

from __future__ import annotations

import time
from collections.abc import Callable

import pika
import pytest
from pamqp import body, commands, header, heartbeat
from pika.adapters.blocking_connection import BlockingChannel

from .actions import publish, wait_for_depth
from .raw_client import CAPABILITIES, PROTOCOL_HEADER, RawClient


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_a_client_logs_in_with_either_mechanism(raw: Callable[[], RawClient], mechanism: str) -> None:
    client = raw()
    assert mechanism in (client.start().mechanisms or "").split()
    client.log_in(mechanism=mechanism)
    client.expect(commands.Connection.Tune)


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_a_wrong_password_is_refused_with_the_reason(raw: Callable[[], RawClient], mechanism: str) -> None:
    client = raw()
    client.start()
    client.log_in(password="wrong", mechanism=mechanism)
    close = client.expect(commands.Connection.Close)
    assert close.reply_code == 403
    assert close.reply_text == (
        f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. "
        "For details see the broker logfile."
    )


def test_pika_reports_a_wrong_password_as_an_authentication_error(
    connect: Callable[..., pika.BlockingConnection],
) -> None:
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(credentials=pika.PlainCredentials("guest", "wrong"))


def test_a_client_that_cannot_hear_refusals_is_cut_off_silently(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.start()
    client.send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0wrong"), channel=0)
    assert client.rest() == []


def test_an_unknown_vhost_is_refused_with_the_reason(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.start()
    client.log_in()
    client.expect(commands.Connection.Tune)
    client.tune(10, 8192, 0)
    client.send(commands.Connection.Open("nowhere"), channel=0)
    close = client.expect(commands.Connection.Close)
    assert (close.reply_code, close.reply_text) == (530, "NOT_ALLOWED - vhost nowhere not found")


@pytest.mark.parametrize("sent", [b"HELLO123", b"AMQP\x00\x00\x09\x02", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_foreign_protocol_is_answered_with_ours_and_cut_off(raw: Callable[[], RawClient], sent: bytes) -> None:
    client = raw()
    client.send_bytes(sent)
    # RabbitMQ 4 answers what is not AMQP at all with the header of AMQP 1.0, and a wrong 0-9-x with 0-9-1.
    answers = {PROTOCOL_HEADER} if sent.startswith(b"AMQP") else {PROTOCOL_HEADER, b"AMQP\x03\x01\x00\x00"}
    assert client.receive_raw() in answers
    assert client.rest() == []


@pytest.mark.parametrize(
    ("channel_max", "frame_max"),
    [(5000, 131072), (0, 0), (10, 100), (10, 200_000)],
    ids=["too many channels", "no limits", "frames too small", "frames too large"],
)
def test_limits_beyond_the_offer_are_refused(raw: Callable[[], RawClient], channel_max: int, frame_max: int) -> None:
    client = raw()
    client.start()
    client.log_in()
    client.expect(commands.Connection.Tune)
    client.tune(channel_max, frame_max, 0)
    assert client.rest() == []


def test_a_method_out_of_turn_in_the_handshake_ends_the_connection(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.start()
    client.send(commands.Connection.Open("/"), channel=0)
    assert client.rest() == []


def test_closing_is_answered(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.open()
    client.send(commands.Connection.Close(200, "bye", 0, 0), channel=0)
    client.expect(commands.Connection.CloseOk)


def test_heartbeats_come_to_an_idle_client_and_silence_ends_the_connection(
    raw: Callable[[], RawClient],
) -> None:
    client = raw()
    client.open(heartbeat_s=1)
    started_s = time.monotonic()
    frames = client.rest()
    elapsed_s = time.monotonic() - started_s
    assert len(frames) >= 2
    assert all(isinstance(frame, heartbeat.Heartbeat) for frame in frames)
    assert 1.5 < elapsed_s < 5


def test_a_client_that_sends_heartbeats_keeps_its_connection(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.open(heartbeat_s=1)
    client.channel()
    deadline_s = time.monotonic() + 3.5
    while time.monotonic() < deadline_s:
        client.send(heartbeat.Heartbeat(), channel=0)
        assert isinstance(client.receive()[1], heartbeat.Heartbeat)
    assert client.declare(exclusive=True).message_count == 0


def test_channels_up_to_the_agreed_number_can_be_open(raw: Callable[[], RawClient]) -> None:
    client = raw()
    client.start()
    client.log_in()
    client.expect(commands.Connection.Tune)
    client.tune(2, 131072, 0)
    client.send(commands.Connection.Open("/"), channel=0)
    client.expect(commands.Connection.OpenOk)
    client.channel(1)
    client.channel(2)
    client.send(commands.Channel.Open(), channel=3)
    close = client.expect(commands.Connection.Close)
    assert (close.reply_code, close.reply_text) == (
        530,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
    )


def test_a_channel_number_can_be_used_again_after_it_was_closed(wire: RawClient) -> None:
    for _ in range(3):
        wire.send(commands.Channel.Close(200, "", 0, 0))
        wire.expect(commands.Channel.CloseOk)
        wire.channel()
    assert wire.declare(exclusive=True).message_count == 0


def test_what_a_client_sends_before_it_sees_its_channel_closed_is_ignored(
    wire: RawClient, raw: Callable[[], RawClient], name: Callable[[], str]
) -> None:
    queue = name()
    wire.send(
        commands.Basic.Ack(99),
        commands.Queue.Declare(queue=queue),
        commands.Basic.Publish(routing_key=queue),
        header.ContentHeader(body_size=2),
        body.ContentBody(b"hi"),
        commands.Channel.CloseOk(),
        commands.Channel.Open(),
        commands.Queue.Declare(queue=queue, passive=True),
    )
    assert wire.expect(commands.Channel.Close).reply_code == 406
    wire.expect(commands.Channel.OpenOk)
    assert wire.expect(commands.Channel.Close).reply_code == 404


def test_both_sides_may_close_a_channel_at_once(wire: RawClient) -> None:
    wire.send(commands.Basic.Ack(99), commands.Channel.Close(200, "", 0, 0), commands.Channel.CloseOk())
    wire.expect(commands.Channel.Close)
    wire.expect(commands.Channel.CloseOk)
    wire.channel()


@pytest.mark.parametrize("ending", ["close", "socket", "garbage"])
def test_messages_that_a_dead_connection_held_are_delivered_again(
    channel: BlockingChannel, queue: str, raw: Callable[[], RawClient], ending: str
) -> None:
    channel.confirm_delivery()
    publish(channel, queue, [b"%d" % number for number in range(5)])
    client = raw()
    client.open()
    client.channel()
    client.send(commands.Basic.Consume(queue=queue, consumer_tag="t"))
    client.expect(commands.Basic.ConsumeOk)
    for _ in range(5):
        assert not client.expect(commands.Basic.Deliver).redelivered
        client.expect_content()
    assert channel.queue_declare(queue, passive=True).method.message_count == 0
    client.end(ending)
    wait_for_depth(channel, queue, 5)
    got = [channel.basic_get(queue) for _ in range(5)]
    assert [(method.redelivered, data) for method, _, data in got] == [(True, b"%d" % n) for n in range(5)]


def test_an_exclusive_queue_goes_with_its_connection(
    connect: Callable[[], pika.BlockingConnection], channel: BlockingChannel, name: Callable[[], str]
) -> None:
    used, owner = name(), connect()
    owner.channel().queue_declare(used, exclusive=True)
    owner.close()
    assert channel.queue_declare(used).method.queue == used


def test_capabilities_of_the_broker_are_announced(raw: Callable[[], RawClient]) -> None:
    properties = raw().start().server_properties
    assert isinstance(properties, dict)
    capabilities = properties["capabilities"]
    assert isinstance(capabilities, dict)
    assert {name for name in CAPABILITIES if capabilities.get(name) is True} == set(CAPABILITIES)
