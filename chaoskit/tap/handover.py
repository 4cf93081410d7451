"""The supervisor's side of a start under the tap: it gives the filter and takes the listener."""

import contextlib
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from chaoskit.tap.filter import compile_filter

_MESSAGE_BYTES = 4096


def receive(channel: socket.socket) -> tuple[bytes, int | None]:
    """The next message of a launcher and the descriptor that came with it. An empty message is the end."""
    try:
        message, fds, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", None  # It died before it read the filter.
    return message, fds[0] if fds else None


class Door:
    """A socket at a path where launchers of other containers knock; each brings the listener of one program.

    Raises OSError when the path is taken or too long (107 bytes).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        # A program may run as any user of its container.
        path.chmod(0o666)
        self._socket.listen()
        self._filter = compile_filter()

    def fileno(self) -> int:
        """Readable when someone knocks."""
        return self._socket.fileno()

    def greet(self) -> socket.socket:
        """Accept a launcher and give it the filter. The channel becomes readable when it brings its listener.

        Of one that was killed meanwhile `receive` says the end.
        """
        channel, _ = self._socket.accept()
        with contextlib.suppress(BrokenPipeError):
            channel.send(self._filter)
        return channel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        os.unlink(self._path)
