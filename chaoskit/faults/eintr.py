"""eintr: the call is interrupted by a signal before it did anything, and fails with EINTR."""

from chaoskit.faults.base import errno_fault

FAULT = errno_fault("EINTR", "eintr", "a signal interrupts the call: it fails with EINTR", ("write", "fsync", "create"))
