"""Does not sync the directory of the markers of finished clients."""

import os

import worker_2

from chaoskit.durable.files import Disk


def create_only(self: Disk, path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


Disk.create_marker = create_only
worker_2.main()
