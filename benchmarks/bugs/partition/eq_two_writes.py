"""Writes header and rows with two calls: harmless, as the intent covers both."""

import os

import worker_2

from chaoskit.durable.files import Disk

append_to = Disk._append_to


def append_in_two_writes(self: Disk, fd: int, name: str, data: bytes, header: bytes) -> int:
    if header and not os.fstat(fd).st_size:
        self._write_all(fd, header)
    return append_to(self, fd, name, data, header)


Disk._append_to = append_in_two_writes
worker_2.main()
