"""How the verbs reach a pipeline that is up: a Unix socket, one JSON line for the request and one for the reply.

The socket is in a directory of its own that only its owner may enter, below XDG_RUNTIME_DIR or the temporary
directory: the path of a socket may have about a hundred bytes, and a project directory is often deeper. The directory
is locked while its chaoskit lives. It decides nothing: the handler does.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from chaoskit.engine.holding import is_held
from chaoskit.model.errors import ChaoskitError, EnvironmentProblem
from chaoskit.model.exit_codes import ExitCode

PREFIX = "chaoskit-up-"
_NAME = "control"
# macOS allows 104 bytes with the closing NUL, Linux 108.
_LONGEST_PATH_BYTES = 103
_LINE_BYTES = 1 << 16
_REQUEST_S = 5.0


class Ps(msgspec.Struct, frozen=True, tag="ps"):
    """What is up?"""


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """SIGKILL a program and leave it dead."""

    program: str


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """Start a dead program, or stop a living one and start it."""

    program: str


class Data(msgspec.Struct, frozen=True, tag="data"):
    """Have the data directories as they are now in the run's directory."""


class Down(msgspec.Struct, frozen=True, tag="down"):
    """Stop everything. The connection is closed when that is done."""


class ProgramRow(msgspec.Struct, frozen=True):
    """A program as it is now. `since` (UTC) and `for_s` say when this life began or ended, `exit_code` how it ended."""

    program: str
    state: str
    life: int | None
    pid: int | None
    since: str | None
    for_s: float | None
    exit_code: int | None


class QueueRow(msgspec.Struct, frozen=True):
    """A queue of the broker: messages ready, delivered but not acknowledged, and consumers."""

    queue: str
    ready: int
    unacked: int
    consumers: int


class Listing(msgspec.Struct, frozen=True, tag="listing"):
    """The answer to Ps."""

    scenario: str
    run_dir: str
    pid: int
    ready: bool
    programs: list[ProgramRow]
    queues: list[QueueRow]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It was done; `text` says what, in one line."""

    text: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It was not done; `text` says why, `code` is the exit code."""

    text: str
    code: int


Request = Ps | Kill | Restart | Data | Down
Reply = Listing | Done | Refused
Handler = Callable[[Request], Awaitable[Reply]]
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class _RefusedByServer(ChaoskitError):
    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.text)
        self.exit_code = ExitCode(refused.code) if refused.code in list(ExitCode) else ExitCode.ENVIRONMENT


# --- where sockets are ---


def bases() -> list[Path]:
    """Directories that may hold control sockets, the preferred one first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    found = [Path(runtime)] if runtime and os.path.isabs(runtime) and _is_mine(Path(runtime)) else []
    return list(dict.fromkeys([*found, Path(tempfile.gettempdir()), Path("/tmp")]))


def _is_mine(directory: Path) -> bool:
    try:
        status = directory.stat(follow_symlinks=False)
    except OSError:
        return False
    return status.st_uid == os.getuid() and os.access(directory, os.W_OK)


def stale_directories() -> list[Path]:
    """Socket directories of this user whose chaoskit is dead."""
    found = (path for base in bases() for path in base.glob(f"{PREFIX}*"))
    return [path for path in found if path.is_dir() and not path.is_symlink() and _is_mine(path) and not is_held(path)]


def remove_directory(directory: Path) -> None:
    """Remove a socket directory and its socket, nothing else. Does nothing when something else is in it."""
    with contextlib.suppress(OSError):
        (directory / _NAME).unlink(missing_ok=True)
        directory.rmdir()


# --- the side of the pipeline ---


class Server:
    """Listens for requests. `answer` is called for each, one after the other a connection."""

    def __init__(self, answer: Handler) -> None:
        self._answer = answer
        self._waiting: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._directory: Path | None = None
        self._lock = -1

    async def start(self) -> str:
        """Listen; the path of the socket. Raises EnvironmentProblem when no directory will do."""
        last = "no temporary directory"
        for base in bases():
            try:
                return await self._listen_below(base)
            except OSError as e:
                last = f"{base}: {e.strerror or e}"
                self._remove()
        raise EnvironmentProblem(f"no control socket can be made ({last}): set TMPDIR to a short, writable directory")

    async def _listen_below(self, base: Path) -> str:
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        path = str(self._directory / _NAME)
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            raise OSError(0, "its path is too long for a socket")
        self._server = await asyncio.start_unix_server(self._serve, path, limit=_LINE_BYTES)
        return path

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever asks for the end hears of it by the end of the connection.
        last = False
        try:
            async with asyncio.timeout(_REQUEST_S):
                line = await reader.readline()
            request = _requests.decode(line)
            last = isinstance(request, Down)
            reply = await self._answer(request)
        except (msgspec.DecodeError, ValueError, TimeoutError) as e:
            reply = Refused(f"not a request: {e}", int(ExitCode.USAGE))
        except ConnectionError:
            writer.close()
            return
        with contextlib.suppress(ConnectionError):
            writer.write(msgspec.json.encode(reply) + b"\n")
            await writer.drain()
        if last:
            self._waiting.append(writer)
        else:
            writer.close()

    def close(self) -> None:
        """Stop listening and remove the socket. Harmless when not started."""
        if self._server is not None:
            self._server.close()
        for writer in self._waiting:
            writer.close()
        self._remove()

    def _remove(self) -> None:
        if self._directory is not None:
            remove_directory(self._directory)
            self._directory = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


# --- the side of the verbs ---


def ask(path: str, request: Request, within_s: float) -> Listing | Done:
    """Send one request and return the reply; for Down, after everything has ended.

    Raises EnvironmentProblem when nobody answers in time, and what the other side refused as an error of its code.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(within_s)
            connection.connect(path)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
                if isinstance(request, Down):
                    lines.read()
        reply = _replies.decode(line)
    except (OSError, msgspec.DecodeError) as e:
        why = "it took too long" if isinstance(e, TimeoutError) else getattr(e, "strerror", None) or "it went away"
        raise EnvironmentProblem(
            f"the pipeline of this directory does not answer ({why}): `chaoskit clean` helps once its process is dead"
        ) from None
    if isinstance(reply, Refused):
        raise _RefusedByServer(reply)
    return reply
