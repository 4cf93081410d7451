"""Message faults: an AMQP-aware man in the middle between a program and the broker, and an injector of copies.

Sees every message and acknowledgement before it goes on and may delay, drop, duplicate it or cut the connection. It
changes no byte otherwise. AMQP 0-9-1 without TLS only; it queues nothing and declares nothing itself.
"""

from chaoskit.proxy.client import ClientError
from chaoskit.proxy.events import (
    FORWARD,
    Action,
    Change,
    Counts,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Forward,
    Kind,
    Login,
    OnChange,
    OnMessage,
    Seen,
)
from chaoskit.proxy.injector import Injector
from chaoskit.proxy.inquirer import Depth, Inquirer
from chaoskit.proxy.outage import Outage
from chaoskit.proxy.server import Proxy
from chaoskit.proxy.topology import Topology

__all__ = [
    "FORWARD",
    "Action",
    "Change",
    "ClientError",
    "Counts",
    "Cut",
    "Delay",
    "Depth",
    "Drop",
    "Duplicate",
    "Forward",
    "Injector",
    "Inquirer",
    "Kind",
    "Login",
    "OnChange",
    "OnMessage",
    "Outage",
    "Proxy",
    "Seen",
    "Topology",
]
