"""Clients and brokers that misbehave, on raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
from pamqp import commands, frame, header

from chaoskit.proxy import wire
from tests.proxy.conftest import LIMIT_S
from tests.proxy.test_core import content

RESET = struct.pack("ii", 1, 0)


def session(queue, user, password):
    """The bytes of a client that logs in, publishes, consumes, acks and says goodbye, all without waiting."""
    basic = commands.Basic
    login = commands.Connection.StartOk(mechanism="PLAIN", response=f"\0{user}\0{password}")
    opening = [login, commands.Connection.TuneOk(0, 131072, 0), commands.Connection.Open("/")]
    raws = [header.ProtocolHeader().marshal(), *(frame.marshal(method, 0) for method in opening)]
    raws += [frame.marshal(method, 1) for method in (commands.Channel.Open(), commands.Confirm.Select())]
    raws += content(basic.Publish(routing_key=queue), b"x" * 20, pieces=2, message_id="id")
    raws += [frame.marshal(method, 1) for method in (basic.Consume(queue=queue), basic.Ack(1))]
    raws.append(frame.marshal(commands.Connection.Close(200, "bye", 0, 0), 0))
    return b"".join(raws)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def read_to_end(client):
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            received += data
    return received


def links_of(proxy):
    return len(proxy._links)


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_vanishes_at_any_byte_leaves_nothing_behind(bench, reset):
    proxy, queue = bench.proxy(), bench.queue()
    stream = session(queue, bench.upstream.user, bench.upstream.password)
    for length in range(len(stream) + 1):
        with connect(proxy.port) as client:
            client.sendall(stream[:length])
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    bench.wait(lambda: links_of(proxy) == 0)
    bench.channel(proxy.port).basic_publish("", queue, b"still alive")
    assert b"still alive" in bench.contents(queue, bench.depth(queue) or 1)


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
        b"AMQP\x00\x01\x00\x00",
        b"AMQX\x00\x00\x09\x01",
        b"\x00" * 64,
        b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\x00",
    ],
)
def test_bytes_that_are_no_amqp_get_what_the_broker_says_of_them(bench, opening):
    answers = []
    for port in (bench.upstream.port, bench.proxy().port):
        with connect(port) as client:
            client.sendall(opening)
            answers.append(read_to_end(client))
    assert answers[0] == answers[1]


class Sink(asyncio.Protocol):
    """A broker that accepts and never reads, until it is told to."""

    def __init__(self):
        self.received_bytes = 0

    def connection_made(self, transport):
        self.transport = transport
        transport.pause_reading()

    def data_received(self, data):
        self.received_bytes += len(data)


def test_a_broker_that_does_not_read_stops_the_client_and_not_the_proxy(bench, call):
    sink = Sink()

    async def listen():
        return await asyncio.get_running_loop().create_server(lambda: sink, "127.0.0.1", 0)

    async def resume():
        sink.transport.resume_reading()

    server = call(listen())
    proxy = bench.proxy(upstream=server.sockets[0].getsockname())
    message = b"".join(content(commands.Basic.Publish(routing_key="q"), b"x" * 900_000, pieces=9))
    sent_bytes = 0
    with connect(proxy.port) as client:
        client.settimeout(0.5)
        stream = b"AMQP\x00\x00\x09\x01" + message * 100
        with pytest.raises(TimeoutError):
            while sent_bytes < len(stream):
                sent_bytes += client.send(stream[sent_bytes : sent_bytes + 65536])
        held_bytes = sum(link.broker._transport.get_write_buffer_size() for link in proxy._links)
        assert held_bytes < 3 * len(message)
        call(resume())
        client.settimeout(LIMIT_S)
        client.sendall(stream[sent_bytes:])
        bench.wait(lambda: sink.received_bytes == len(stream))
    assert len(bench.of("published")) == 100
    call(_close_server(server, sink))


async def _close_server(server, sink):
    server.close()
    sink.transport.close()


def test_an_exception_in_the_callback_breaks_that_connection_only(bench, call):
    queue, proxy = bench.queue(), bench.proxy()

    def fail(seen):
        if seen.preview == b"bad":
            raise RuntimeError("planted")
        return bench_answer(seen)

    bench_answer, bench.answer = bench.answer, fail
    stays = bench.channel(proxy.port)
    bench.channel(proxy.port).basic_publish("", queue, b"bad")
    bench.wait(lambda: bench.changes[-1].kind == "disconnected")
    stays.basic_publish("", queue, b"good")
    assert bench.contents(queue, 1) == [b"good"]
    assert [str(context["exception"]) for context in call.errors] == ["planted"]
    call.errors.clear()


def test_a_proxy_that_is_closed_gives_its_port_back_and_breaks_its_connections(bench, call):
    proxy = bench.proxy()
    port = proxy.port
    with connect(port) as client:
        client.sendall(b"AMQP\x00\x00\x09\x01")
        assert client.recv(1) == b"\x01"
        call(proxy.close())
        read_to_end(client)
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    with pytest.raises(RuntimeError, match="call start"):
        proxy.port  # noqa: B018
    call(proxy.close())


def test_a_proxy_can_be_closed_while_a_connection_is_being_made(bench, call):
    async def open_and_close():
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.close()
        writer.close()

    for _ in range(20):
        proxy = bench.proxy()
        call(open_and_close())
        assert links_of(proxy) == 0


def test_frame_overhead_is_what_make_frame_adds():
    assert len(wire.make_frame(wire.BODY, 1, b"xyz")) == 3 + wire.FRAME_OVERHEAD_BYTES
