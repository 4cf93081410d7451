"""Does not call fsync on the intent before the first row is written."""

import os

import worker_2

from chaoskit.durable.files import Disk


def rewrite_without_fsync(self: Disk, path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    self._write_all(fd, data)
    os.close(fd)
    if path not in self._entry_synced:
        self._sync_entry(path)


Disk.rewrite = rewrite_without_fsync
worker_2.main()
