"""Never calls fsync on the rows of partition files."""

import os

import worker_2

from chaoskit.durable.files import Disk

append_to = Disk._append_to


def append_rows_without_fsync(self: Disk, fd: int, name: str, data: bytes, header: bytes) -> int:
    if not header:
        return append_to(self, fd, name, data, header)
    base = os.fstat(fd).st_size
    self._write_all(fd, data if base else header + data)
    if base == 0:
        self._sync_entry(name)
    return base or len(header)


Disk._append_to = append_rows_without_fsync
worker_2.main()
