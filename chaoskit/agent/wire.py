"""What the engine and the agent say to each other: one JSON object a line.

The engine sends commands, `{"id": 7, "do": "prepare", ...}`, and gets one answer for each, `{"id": 7, "ok": ...}` or
`{"id": 7, "error": "..."}`. In between the agent sends events, `{"event": "message", ...}`, in the order in which they
happened: an answer comes behind every event that was there before it.
"""

import json
from collections.abc import Mapping
from typing import Any

# An answer carries no file; a longer line is none of ours.
LINE_LIMIT_BYTES = 16 * 1024 * 1024
AMQP_PORT = 5672
# Where the agent finds and keeps things in its container; programs find the launcher and their socket there too.
MEETING = "/.chaoskit"
SOCKETS = f"{MEETING}/sockets"
LAUNCHER = f"{MEETING}/launcher"
DATA = "/data"

Body = Mapping[str, Any]


def pack(body: Body) -> bytes:
    """One line."""
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def unpack(line: bytes) -> dict[str, Any]:
    """The object of a line. Raises ValueError for anything else."""
    body = json.loads(line)
    if not isinstance(body, dict):
        raise ValueError("a line is one JSON object")
    return body
