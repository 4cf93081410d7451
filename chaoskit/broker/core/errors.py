"""Errors that the broker reports to a client by closing its channel or its connection.

Which codes close a channel and which close a connection is the rule of the AMQP 0-9-1 specification (soft and hard
errors). The texts that carry a code's name in front are RabbitMQ's habit.
"""

from __future__ import annotations

from enum import IntEnum

MAX_REPLY_TEXT_BYTES = 255


class Reply(IntEnum):
    """Reply codes of AMQP 0-9-1, with the names that RabbitMQ writes in front of its texts."""

    NO_ROUTE = 312
    CONNECTION_FORCED = 320
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541


class AmqpError(Exception):
    """A failure that is the client's, to be told with Channel.Close or Connection.Close.

    `hard` errors close the connection. `method_index` is class and method of what failed, 0 when unknown.
    """

    def __init__(self, code: Reply, explanation: str, method_index: int = 0) -> None:
        super().__init__(explanation)
        self.code = code
        self.method_index = method_index
        self.hard = code == Reply.CONNECTION_FORCED or code >= Reply.FRAME_ERROR

    @property
    def reply_text(self) -> str:
        """`NAME - explanation`, cut to the 255 bytes that a short string holds."""
        text = f"{self.code.name} - {self}"
        return text.encode()[:MAX_REPLY_TEXT_BYTES].decode(errors="ignore")


def not_implemented(what: str) -> AmqpError:
    """The refusal of something that RabbitMQ may know and this broker does not."""
    return AmqpError(Reply.NOT_IMPLEMENTED, f"{what} is not implemented by the embedded broker")
