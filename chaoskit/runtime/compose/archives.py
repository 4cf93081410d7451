"""A directory of a container, copied to this machine. What a container holds is not to be trusted with our files."""

import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose.engine import ERRORS


def unpack(archive: Iterable[bytes], destination: Path) -> None:
    """Make `destination` hold what is in the one directory of a tar, in place of what was there.

    Links, devices and the like are left out. Raises EnvironmentProblem when it is no such tar or the disk is full, and
    the errors of the Docker SDK, which may send the tar.
    """
    try:
        _unpack(archive, destination)
    except ERRORS:
        raise
    except (tarfile.TarError, OSError) as e:
        raise EnvironmentProblem(f"the data of a container cannot be copied to {destination}: {e}") from None


def _unpack(archive: Iterable[bytes], destination: Path) -> None:
    fresh = destination.with_name(f"{destination.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # It may be larger than the memory, and has no name that could be left behind.
    with tempfile.TemporaryFile(dir=fresh) as stored:
        stored.writelines(archive)
        stored.seek(0)
        _extract(stored, fresh)
    tops = list(fresh.iterdir())
    shutil.rmtree(destination, ignore_errors=True)
    if len(tops) == 1 and tops[0].is_dir():
        tops[0].rename(destination)
        fresh.rmdir()
    else:
        fresh.rename(destination)


def _extract(stored: IO[bytes], fresh: Path) -> None:
    with tarfile.open(fileobj=stored) as tar:
        tar.extractall(fresh, filter=_harmless)


def _harmless(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    if not (member.isfile() or member.isdir()):
        return None
    found = tarfile.data_filter(member, path)
    # Readable for whoever runs chaoskit, whatever it was inside.
    found.mode = (found.mode or 0) | (0o700 if member.isdir() else 0o600)
    return found
