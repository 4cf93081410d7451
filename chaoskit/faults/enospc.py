"""enospc: the disk is full; a write, or the making of a file, fails with ENOSPC."""

from chaoskit.faults.base import errno_fault

FAULT = errno_fault("ENOSPC", "enospc", "the disk is full: the call fails with ENOSPC", ("write", "create", "mkdir"))
