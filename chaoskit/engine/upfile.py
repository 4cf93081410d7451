"""Which pipeline is up in this directory: `.chaoskit/up`, a JSON object that its chaoskit keeps locked while it lives.

The lock says that a pipeline is up, not the file: the kernel gives it back however the process ends, so a file that a
killed chaoskit left behind is told from a living one without guessing about process ids. It talks to nobody: that is
`control`.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from chaoskit.engine import rundir
from chaoskit.engine.rundir import RunDir
from chaoskit.model.errors import EnvironmentProblem, UsageError

# Whoever looks holds the lock for a moment; somebody who wants it for good tries this often before giving up.
_ATTEMPTS = 10
_PAUSE_S = 0.02


class Up(msgspec.Struct, frozen=True):
    """The content of the file. `run` is the name of the run directory, `socket` where its chaoskit listens."""

    pid: int
    scenario: str
    run: str
    socket: str

    @property
    def run_dir(self) -> RunDir:
        """The run directory, always below this directory's `.chaoskit/runs`."""
        return RunDir(rundir.home() / "runs" / Path(self.run).name)


class Found(msgspec.Struct, frozen=True):
    """What is in this directory: a pipeline that is up (`alive`), or the file of one whose chaoskit is dead.

    `up` is None while a pipeline is being brought up, and when the file cannot be read.
    """

    alive: bool
    up: Up | None


class Claim:
    """This process's right to have the pipeline of this directory."""

    def __init__(self, fd: int, path: Path, stale: Up | None) -> None:
        self._fd, self._path = fd, path
        self.stale = stale

    def write(self, up: Up) -> None:
        """Tell everybody how to reach this pipeline."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, msgspec.json.encode(up) + b"\n", 0)

    def release(self) -> None:
        """Give the directory back. The file goes first, so that nobody finds one that is not locked."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def path() -> Path:
    """Where the file is."""
    return rundir.home() / "up"


@contextlib.contextmanager
def claimed() -> Iterator[Claim]:
    """Be the pipeline of this directory. Raises UsageError when there is one, EnvironmentProblem where none can be."""
    claim = _claim()
    try:
        yield claim
    finally:
        claim.release()


def _claim() -> Claim:
    try:
        rundir.home().mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            if claim := _try_claim():
                return claim
            time.sleep(_PAUSE_S)
    except OSError as e:
        raise EnvironmentProblem(f"{path()}: cannot be written: {e.strerror}") from None
    raise UsageError(f"{_described(look())}: `chaoskit down` stops it, or work in another directory")


def _try_claim() -> Claim | None:
    fd = os.open(path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # A file that was removed between our opening and our locking it is nobody's any more.
    if not _lock(fd, fcntl.LOCK_EX) or not _is_at(fd, path()):
        os.close(fd)
        return None
    stale = _content(fd)
    os.ftruncate(fd, 0)
    return Claim(fd, path(), stale)


def _is_at(fd: int, where: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), where.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(fd: int) -> Up | None:
    try:
        return msgspec.json.decode(os.pread(fd, 65536, 0), type=Up)
    except (OSError, msgspec.DecodeError):
        return None


def look() -> Found | None:
    """What is in this directory; None when no pipeline was left or is up."""
    try:
        fd = os.open(path(), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        alive = not _lock(fd, fcntl.LOCK_SH)
        up = _content(fd)
        # Somebody may have stopped the pipeline, and removed the file, since we opened it.
        return Found(alive, up) if _is_at(fd, path()) else None
    finally:
        os.close(fd)


def current() -> Up | None:
    """The pipeline that is up and can be reached; None when there is none."""
    found = look()
    return found.up if found and found.alive else None


def require() -> Up:
    """The pipeline that is up here. Raises UsageError that says what there is instead."""
    found = look()
    if found and found.alive and found.up:
        return found.up
    if found and found.alive:
        raise UsageError("the pipeline of this directory is only just coming up: try again in a moment")
    if found:
        raise UsageError(f"{_described(found)}: `chaoskit clean` removes what it left, `chaoskit up` starts anew")
    raise UsageError(f"no pipeline is up in {Path.cwd()}: start one with `chaoskit up -d stateful`")


def remove_stale() -> bool:
    """Remove the file of a dead chaoskit; whether there was one. A living one keeps its file."""
    found = look()
    if found is None or found.alive:
        return False
    claim = _try_claim()
    if claim is None:
        return False
    claim.release()
    return True


def _described(found: Found | None) -> str:
    who = f"{found.up.scenario}, pid {found.up.pid}" if found and found.up else "just coming up"
    if found and not found.alive:
        return f"the chaoskit that had a pipeline up here ({who}) was killed"
    return f"a pipeline is up in this directory already ({who})"
