"""eio: the disk fails; the call ends with EIO. An fsync that failed is final: what it should have saved is lost."""

from chaoskit.faults.base import errno_fault

_OPERATIONS = ("write", "fsync", "rename", "unlink", "truncate", "create", "mkdir")
FAULT = errno_fault("EIO", "eio", "the disk fails: the call fails with EIO", _OPERATIONS)
