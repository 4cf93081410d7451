"""Never calls fsync on the rows that it appends."""

import os

import worker_2

from chaoskit.durable.files import Disk


def append_without_fsync(self: Disk, fd: int, name: str, data: bytes, header: bytes) -> int:
    base = os.fstat(fd).st_size
    self._write_all(fd, data if base else header + data)
    if base == 0:
        self._sync_entry(name)
    return base or len(header)


Disk._append_to = append_without_fsync
worker_2.main()
