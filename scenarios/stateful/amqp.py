"""What the programs of this scenario share: settings from the environment, SIGTERM, a connection that comes back.

Plain pika, one connection and one channel at a time. With DURABLE=true queues and messages outlive the broker,
HEARTBEAT_S says how soon a network that is gone is noticed. It does not know what the messages mean.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 5.0
_CONNECT_TIMEOUT_S = 5
_BLOCKED_TIMEOUT_S = 30
_NOT_FOUND = 404
_FORCED = 320


def say(program: str, line: str) -> None:
    """Print one log line at once; a line break inside of it is shown as text."""
    print(f"{program}: {line}".replace("\r", "\\r").replace("\n", "\\n"), flush=True)


def number_setting(name: str, default: int | None = None) -> int:
    """Return a whole number of 0 or more from the environment; exit with one line when it is none."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        sys.exit(f"{name} must be a whole number, not {text!r}; set it in the environment")
    return int(text)


def text_setting(name: str, default: str | None = None) -> str:
    """Return a text from the environment; exit with one line when it is missing."""
    text = os.environ.get(name, default)
    if not text:
        sys.exit(f"{name} is not set; set it in the environment")
    return text


def flag_setting(name: str) -> bool:
    """Return whether the environment says true; it says false when it says nothing."""
    text = os.environ.get(name, "false")
    if text not in ("true", "false"):
        sys.exit(f"{name} must be true or false, not {text!r}; set it in the environment")
    return text == "true"


def end_with_one_line(program: str) -> None:
    """Let an unexpected error end the program with one line and exit code 1 instead of a traceback."""

    def report(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        say(program, f"stopped by an unexpected error: {kind.__name__}: {error}")

    sys.excepthook = report


class Stop:
    """SIGTERM and SIGINT: exit at once, or after the block that defers it."""

    def __init__(self, exit_code: int = 0) -> None:
        self.requested = False
        self._exit_code = exit_code
        self._is_deferred = False
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self._exit_if_requested()

    def _exit_if_requested(self) -> None:
        if self.requested and not self._is_deferred:
            raise SystemExit(self._exit_code)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block finish before the program stops."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        self._exit_if_requested()


class Backoff:
    """Delays in seconds that double from attempt to attempt."""

    def __init__(self) -> None:
        self._delay_s = _FIRST_DELAY_S

    def next_delay_s(self) -> float:
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        return delay_s


def parameters() -> pika.ConnectionParameters:
    """Return where and how to connect, from RABBITMQ_HOST, _PORT, _USER and _PASS."""
    user, password = text_setting("RABBITMQ_USER", "guest"), text_setting("RABBITMQ_PASS", "guest")
    return pika.ConnectionParameters(
        host=text_setting("RABBITMQ_HOST", "localhost"),
        port=number_setting("RABBITMQ_PORT", 5672),
        credentials=pika.PlainCredentials(user, password),
        heartbeat=number_setting("HEARTBEAT_S", 20),
        socket_timeout=_CONNECT_TIMEOUT_S,
        stack_timeout=2 * _CONNECT_TIMEOUT_S,
        blocked_connection_timeout=_BLOCKED_TIMEOUT_S,
    )


def with_channel(program: str, work: Callable[[BlockingChannel], None]) -> None:
    """Run `work` on a channel with publisher confirms; when the broker goes away, connect and run it again.

    Returns when `work` does. An error that trying again cannot cure, such as a wrong password, is raised.
    """
    where = parameters()
    backoff = Backoff()
    while True:
        try:
            with _channel(where) as channel:
                backoff = Backoff()
                return work(channel)
        except pika.exceptions.AMQPError as error:
            if _is_hopeless(error):
                raise
            delay_s = backoff.next_delay_s()
            reason = str(error) or repr(error)
            say(program, f"No broker at {where.host}:{where.port} ({reason}), trying again in {delay_s:.2f} s")
            time.sleep(delay_s)


@contextlib.contextmanager
def _channel(where: pika.ConnectionParameters) -> Iterator[BlockingChannel]:
    connection = _connect(where)
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    except SystemExit:
        # SIGTERM may have come in the middle of a frame, or before the answer to a call: there is nothing sensible to
        # say on this connection, which the end of the process closes.
        raise
    except BaseException:
        _close(connection)
        raise
    _close(connection)


def _close(connection: pika.BlockingConnection) -> None:
    """Closing is a courtesy: what was not acknowledged is redelivered either way."""
    with contextlib.suppress(Exception):
        connection.close()


def _connect(where: pika.ConnectionParameters) -> pika.BlockingConnection:
    try:
        return pika.BlockingConnection(where)
    except OSError as error:
        # Without a network there is no name service either, and pika leaves that error as it is.
        raise pika.exceptions.AMQPConnectionError(str(error)) from error


def _is_hopeless(error: pika.exceptions.AMQPError) -> bool:
    if isinstance(error, pika.exceptions.ChannelClosedByBroker):
        return bool(error.reply_code != _NOT_FOUND)
    denied = (pika.exceptions.ProbableAuthenticationError, pika.exceptions.ProbableAccessDeniedError)
    # A broker that dies during a login says nothing, and one that ends in order says that it does.
    return isinstance(error, denied) and "ClosedByBroker" in str(error) and f"({_FORCED})" not in str(error)


def declare(channel: BlockingChannel, queue: str) -> None:
    """Declare a queue as all programs do: not exclusive, not auto-deleted, and durable where DURABLE says so."""
    channel.queue_declare(queue, durable=flag_setting("DURABLE"), exclusive=False, auto_delete=False)


def publish(channel: BlockingChannel, queue: str, message_id: str, body: bytes) -> None:
    """Send one message and return when the broker has confirmed that it is in the queue, on disk if it is DURABLE."""
    mode = pika.DeliveryMode.Persistent.value if flag_setting("DURABLE") else None
    properties = pika.BasicProperties(content_type="application/json", message_id=message_id, delivery_mode=mode)
    channel.basic_publish("", queue, body, properties, mandatory=True)


Handler = Callable[[BlockingChannel, int, pika.BasicProperties, bytes], None]


def consume(channel: BlockingChannel, queue: str, stop: Stop, handle: Handler) -> None:
    """Give each message of `queue` to `handle`, one at a time, which acknowledges it.

    Raises ConsumerCancelled when the queue is gone.
    """

    def on_message(
        channel: BlockingChannel,
        method: pika.spec.Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        with stop.deferred():
            handle(channel, method.delivery_tag, properties, body)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, on_message)
    channel.start_consuming()
    raise pika.exceptions.ConsumerCancelled(f"the broker cancelled the consumer of {queue}")
