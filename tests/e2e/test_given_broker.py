"""A broker of the user's own for local programs: the same runs, and its queues are empty again afterwards."""

import re
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from chaoskit.model.errors import UsageError
from chaoskit.model.given_broker import Broker, parse_address

ONE_FILE = ("--faults", "kill", "--only", "*write:metadata/CLI1.csv#1")


@pytest.fixture
def port(chaoskit: Any) -> Iterator[int]:
    """The port of a broker that is nobody's but the test's."""
    process = chaoskit.popen("broker", "--port", "0")
    try:
        match = re.search(r"broker on 127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert match is not None
        yield int(match[1])
    finally:
        process.terminate()
        process.communicate(timeout=10)


def exists(port: int, queue: str) -> bool:
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    try:
        connection.channel().queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    finally:
        connection.close()
    return True


def publish(port: int, queue: str) -> None:
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    channel.queue_declare(queue)
    channel.basic_publish("", queue, b"not of this run")
    connection.close()


def test_a_run_is_the_same_and_leaves_no_queue(chaoskit: Any, port: int) -> None:
    publish(port, "somebody-elses")
    done = chaoskit(
        "run", "stateful", "--kills", "2", "--duplicates", "1", "--seed", "2", "--broker", f"127.0.0.1:{port}", "--json"
    )
    assert done.code == 0, done.text
    assert [f["fired"] for f in done.report["faults"]] == [True] * 3
    assert not exists(port, "queue-1-2") and not exists(port, "queue-2-3")
    assert exists(port, "somebody-elses"), "a queue that no program of the run touched is left alone"


def test_explore_makes_one_experiment_at_a_time_on_it(chaoskit: Any, port: int) -> None:
    done = chaoskit("explore", "stateful", *ONE_FILE, "--broker", f"127.0.0.1:{port}", "--jobs", "4")
    assert done.code == 0, done.text
    assert "1 at a time" in done.out and "5 found, 5 run, 5 survived" in done.out


def test_a_broker_that_does_not_answer_or_refuses_is_an_error(chaoskit: Any, port: int) -> None:
    for address in ("127.0.0.1:1", f"nobody@127.0.0.1:{port}"):
        done = chaoskit("run", "stateful", "--broker", address)
        assert done.code == 3 and "does not let" in done.text, done.text


def test_it_is_not_hurt(chaoskit: Any, port: int, tmp_path: Any) -> None:
    (tmp_path / "plan.yaml").write_text("steps: [{broker-kill: broker, at: {time_s: 0.1}}]")
    done = chaoskit("run", "stateful", "--plan", "plan.yaml", "--broker", f"127.0.0.1:{port}")
    assert done.code == 2 and "hurts its own broker only" in done.err


@pytest.mark.parametrize(
    ("text", "host", "port_", "user"),
    [
        ("localhost", "localhost", 5672, "guest"),
        ("127.0.0.1:7000", "127.0.0.1", 7000, "guest"),
        ("me@localhost:7000", "localhost", 7000, "me"),
        ("[::1]:7000", "::1", 7000, "guest"),
    ],
)
def test_addresses(text: str, host: str, port_: int, user: str) -> None:
    assert parse_address(text, Broker()) == Broker(host, port_, user)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected HOST:PORT"),
        ("amqp://localhost", "expected HOST:PORT"),
        ("localhost:", "expected HOST:PORT"),
        ("me:secret@localhost", "CHAOSKIT_BROKER_PASSWORD"),
        ("localhost:0", "not the address"),
        ("localhost:70000", "not the address"),
        ("production.example:5672", "delete_queues: true"),
    ],
)
def test_an_address_that_is_none_or_somebody_elses_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text, Broker())
    assert words in str(caught.value) and "secret" not in str(caught.value)


def test_a_broker_on_another_machine_has_to_be_there_for_it() -> None:
    allowed = Broker("production.example", delete_queues=False)
    assert parse_address("production.example", allowed) == allowed and not allowed.deletes
    assert Broker().deletes and not Broker(delete_queues=False).deletes
