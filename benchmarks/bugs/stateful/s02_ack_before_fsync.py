"""Acknowledges a chunk when its row is written, and calls fsync afterwards."""

import os
from typing import Any

import worker_2

from chaoskit.durable.files import Disk


def append_without_fsync(self: Disk, fd: int, name: str, data: bytes, header: bytes) -> int:
    base = os.fstat(fd).st_size
    self._write_all(fd, data if base else header + data)
    if base == 0:
        self._sync_entry(name)
    return base or len(header)


class Planted(worker_2.Worker):
    def handle(self, channel: Any, tag: int, _properties: Any, body: bytes) -> None:
        self.process(channel, body)
        channel.basic_ack(tag)
        path = self.manager._path(worker_2.Chunk(body).client_id)
        if os.path.exists(path):
            self.manager._disk.sync_file(path)


Disk._append_to = append_without_fsync
worker_2.Worker = Planted
worker_2.main()
