"""Syncs a directory only in the life that makes something new in it; a restart trusts the names that it finds."""

import os

import worker_2

from chaoskit.durable.files import Disk
from chaoskit.durable.stateful import StatefulWorkerManager

ensure_directory, sync_entry_of_append = Disk.ensure_directory, Disk._sync_entry_of_append


def ensure_if_missing(self: Disk, path: str) -> None:
    if not os.path.isdir(path):
        ensure_directory(self, path)


def sync_if_new(self: Disk, fd: int, name: str, base: int) -> None:
    if base == 0:
        sync_entry_of_append(self, fd, name, base)


Disk.ensure_directory = ensure_if_missing
Disk._sync_entry_of_append = sync_if_new
StatefulWorkerManager._trust_entries = lambda self, clients: None
worker_2.main()
