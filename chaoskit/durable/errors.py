"""What can go wrong in the durable libraries, as types that tell a worker what to do next.

Each type stands for one reaction: reject the message, try again later, or exit. It does not log and does not retry.
"""

from __future__ import annotations


class DurableError(Exception):
    """Base of every error that `chaoskit.durable` raises on purpose. The text is one line for a user."""


class InvalidMessageError(DurableError, ValueError):
    """The message itself is wrong and will be wrong again: dead-letter it and reject it without requeue.

    Nothing was written when this is raised.
    """


class UnsafeNameError(InvalidMessageError):
    """A name that comes from outside is not `[A-Za-z0-9_-]{1,64}` and so must not become part of a path."""


class ConflictingMessageError(InvalidMessageError):
    """A known message id came again with another payload."""


class WriteFailedError(DurableError):
    """A write failed and was undone: the file is as it was. Wait, then try again; never acknowledge."""


class MustExitError(DurableError):
    """What is on disk is no longer known (an undo or an fsync failed). Exit; the next start repairs."""


class CorruptFileError(DurableError):
    """A file holds what no crash of ours can leave behind. Stop, and let a person look at it."""


class UnusableFileError(DurableError):
    """A file cannot be written until a person repairs it: a directory, read-only, or foreign. Dead-letter the message.

    Nothing of the message was kept, so it can be sent again after the repair.
    """
