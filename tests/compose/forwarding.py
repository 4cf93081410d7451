"""A way to the engine that a test can interrupt: a port or a socket that leads to the engine's own socket."""

import contextlib
import socket
import threading
from pathlib import Path

SOCKET = "/var/run/docker.sock"
_READ_BYTES = 65536


class Forwarding:
    """Accepts connections until it is closed; to whoever connects it is an engine. `url` is for DOCKER_HOST.

    With a `path` it is a socket of this machine, without one a TCP port of the loopback, as of an engine elsewhere.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listen()

    def _listen(self) -> None:
        if self._path is None:
            self._server = socket.create_server(("127.0.0.1", 0))
            self.url = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        else:
            self._path.unlink(missing_ok=True)
            self._server = socket.socket(socket.AF_UNIX)
            self._server.bind(str(self._path))
            self._server.listen(64)
            self.url = f"unix://{self._path}"
        threading.Thread(target=self._serve, args=(self._server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                threading.Thread(target=self._both, args=(near,), daemon=True).start()

    def _both(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(SOCKET)
            with self._lock:
                self._open |= {near, far}
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()
            with self._lock:
                self._open -= {near, far}

    def stop(self) -> None:
        """The engine is gone: no new connection, and the end of all there are."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """It is there again, under the same address. Only for a socket."""
        assert self._path is not None
        self._listen()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_READ_BYTES):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
