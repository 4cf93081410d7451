"""Connection.start to connection.open: who the client is and what both sides agreed on.

Pure: methods in, methods and results out. It does not know channels, and it does not close anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pamqp import commands
from pamqp.common import FieldTable

from chaoskit.broker.core import wire
from chaoskit.broker.core.errors import AmqpError, Reply

# RabbitMQ since 4.1; before it was 4096.
MIN_FRAME_BYTES = 8192
CAPABILITIES: FieldTable = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "per_consumer_qos": True,
    "authentication_failure_close": True,
}


@dataclass(frozen=True)
class Settings:
    """What a broker offers. Sizes are in bytes, times in seconds; `users` maps names to passwords."""

    users: Mapping[str, str]
    product: str = "chaoskit embedded broker"
    channel_max: int = 2047
    max_frame_bytes: int = 131072
    max_message_bytes: int = 16 * 1024 * 1024
    heartbeat_s: int = 60
    handshake_timeout_s: float = 10.0
    close_timeout_s: float = 5.0


@dataclass(frozen=True)
class Limits:
    """What a client agreed to; `heartbeat_s` 0 means none."""

    channel_max: int
    max_frame_bytes: int
    heartbeat_s: int


def start(settings: Settings) -> commands.Connection.Start:
    """The broker's first word."""
    properties: FieldTable = {"product": settings.product, "platform": "Python", "capabilities": CAPABILITIES}
    return commands.Connection.Start(server_properties=properties, mechanisms="PLAIN AMQPLAIN", locales="en_US")


def tune(settings: Settings) -> commands.Connection.Tune:
    """The broker's offer."""
    return commands.Connection.Tune(settings.channel_max, settings.max_frame_bytes, settings.heartbeat_s)


def authenticate(method: commands.Connection.StartOk, users: Mapping[str, str]) -> str:
    """The user's name; raises AmqpError 503 for an unknown mechanism, 403 for a wrong name or password."""
    readers = {"PLAIN": _read_plain, "AMQPLAIN": _read_amqplain}
    if method.mechanism not in readers:
        raise AmqpError(Reply.COMMAND_INVALID, f"unknown authentication mechanism '{method.mechanism}'")
    response = method.response
    credentials = readers[method.mechanism](response.encode() if isinstance(response, str) else bytes(response))
    if credentials is None or users.get(credentials[0]) != credentials[1]:
        raise AmqpError(
            Reply.ACCESS_REFUSED,
            f"Login was refused using authentication mechanism {method.mechanism}. For details see the broker logfile.",
        )
    return credentials[0]


def _read_plain(response: bytes) -> tuple[str, str] | None:
    parts = response.split(b"\x00")
    return (parts[1].decode(errors="replace"), parts[2].decode(errors="replace")) if len(parts) == 3 else None


def _read_amqplain(response: bytes) -> tuple[str, str] | None:
    try:
        table = wire.decode_table(response)
    except AmqpError:
        return None
    user, password = table.get("LOGIN"), table.get("PASSWORD")
    return (user, password) if isinstance(user, str) and isinstance(password, str) else None


def is_capable(method: commands.Connection.StartOk, capability: str) -> bool:
    """Whether the client said that it understands an extension, such as `consumer_cancel_notify`."""
    capabilities = (method.client_properties or {}).get("capabilities")
    return isinstance(capabilities, dict) and bool(capabilities.get(capability))


def agree(method: commands.Connection.TuneOk, settings: Settings) -> Limits:
    """Check what the client made of the offer; raises AmqpError 530."""
    channel_max = _negotiated("channel_max", 1, method.channel_max or 0, settings.channel_max)
    max_frame_bytes = _negotiated("frame_max", MIN_FRAME_BYTES, method.frame_max or 0, settings.max_frame_bytes)
    return Limits(channel_max, max_frame_bytes, method.heartbeat or 0)


def _negotiated(name: str, minimum: int, client: int, server: int) -> int:
    # Zero means "no limit", which is more than the broker allows.
    if client == 0 or client > server:
        raise AmqpError(
            Reply.NOT_ALLOWED,
            f"negotiated {name} = {client or 'no limit'} is higher than the maximum allowed value ({server})",
        )
    if client < minimum:
        raise AmqpError(
            Reply.NOT_ALLOWED,
            f"negotiated {name} = {client} is lower than the minimum allowed value ({minimum})",
        )
    return client


def check_vhost(method: commands.Connection.Open) -> None:
    """Raises AmqpError 530 for a virtual host other than `/`."""
    if method.virtual_host != "/":
        raise AmqpError(Reply.NOT_ALLOWED, f"vhost {method.virtual_host} not found", method.index)
