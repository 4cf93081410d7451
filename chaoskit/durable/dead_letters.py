"""A file for messages that a worker rejects: durable before the rejection, bounded, one JSON object a line.

A kill between the line and the rejection makes the message come again: it is then there twice. It does not send
messages anywhere and does not read the file back.
"""

from __future__ import annotations

import base64
import json
import os

from chaoskit.durable.files import Disk, StrPath, SystemCalls, file_size

_MAX_REASON_CHARACTERS = 500


class DeadLetters:
    """Appends to `path`; when it would grow above `max_bytes`, the file becomes `{path}.1` and a new one starts."""

    def __init__(
        self, path: StrPath, *, max_bytes: int = 1 << 20, max_body_bytes: int = 1 << 16, system: SystemCalls = os
    ) -> None:
        """Touches no file. Of a body longer than `max_body_bytes` only the start is kept."""
        self._path = os.fspath(path)
        self._max_bytes = max_bytes
        self._max_body_bytes = max_body_bytes
        self._disk = Disk(system)
        self._is_repaired = False

    def add(self, body: bytes, reason: str) -> None:
        """Keep a rejected message: `{"reason", "bytes", "body_base64"}`. Raises WriteFailedError, MustExitError."""
        line = self._line(body, reason)
        if not self._is_repaired:
            self._disk.ensure_directory(os.path.dirname(self._path) or ".")
            self._disk.repair_tail(self._path)
            self._is_repaired = True
        size = file_size(self._path)
        if size and size + len(line) > self._max_bytes:
            self._disk.move(self._path, self._path + ".1")
        self._disk.append(self._path, line)

    def _line(self, body: bytes, reason: str) -> bytes:
        kept = base64.b64encode(body[: self._max_body_bytes]).decode()
        entry = {"reason": reason[:_MAX_REASON_CHARACTERS], "bytes": len(body), "body_base64": kept}
        return json.dumps(entry).encode() + b"\n"
