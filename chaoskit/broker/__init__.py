"""The embedded broker: AMQP 0-9-1 on loopback, in this process, started in milliseconds.

`EmbeddedBroker` is all that other packages need; what it does not do is listed in `chaoskit.broker.core`.
"""

from chaoskit.broker.server import EmbeddedBroker, QueueDepth

__all__ = ["EmbeddedBroker", "QueueDepth"]
