"""Calls write once and does not look at how many bytes were written."""

import worker_2

from chaoskit.durable.files import Disk

Disk._write_all = lambda self, fd, data: self._system.write(fd, data)
worker_2.main()
