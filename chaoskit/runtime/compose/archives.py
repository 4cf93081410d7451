"""A directory of a container, copied to this machine. What a container holds is not to be trusted with our files."""

import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose.engine import ERRORS


def unpack(archive: Iterable[bytes], destination: Path) -> None:
    """Make `destination` hold what is in the one directory of a tar, in place of what was there.

    Second names of files and symbolic links that stay inside come along; other links, devices and the like are left
    out. Raises EnvironmentProblem when it is no such tar or the disk is full, and the errors of the Docker SDK, which
    may send the tar.
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
    # It may be larger than the memory, and has no name that could be left behind, or be taken for a part of the data.
    with tempfile.TemporaryFile(dir=fresh.parent) as stored:
        stored.writelines(archive)
        stored.seek(0)
        top = _extract(stored, fresh)
    shutil.rmtree(destination, ignore_errors=True)
    top.rename(destination)
    if top != fresh:
        fresh.rmdir()


def _extract(stored: IO[bytes], fresh: Path) -> Path:
    """Fill `fresh`; the directory that is to be kept: the only one in it, or `fresh` itself."""
    with tarfile.open(fileobj=stored) as tar:
        tar.extractall(fresh, filter=_harmless)
        tops = list(fresh.iterdir())
        top = tops[0] if len(tops) == 1 and tops[0].is_dir() else fresh
        # The last to be made: nothing can be written through one, and what is above one is no link itself.
        _link([member for member in tar.getmembers() if member.issym()], fresh, top)
    return top


def _harmless(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    if member.islnk():
        return _second_name(member, path)
    if not (member.isfile() or member.isdir()):
        return None
    found = tarfile.data_filter(member, path)
    # Readable for whoever runs chaoskit, whatever it was inside.
    found.mode = (found.mode or 0) | (0o700 if member.isdir() else 0o600)
    return found


def _second_name(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """A hard link to a file that is there already; tarfile would make anything else anew, without asking us."""
    try:
        found = tarfile.data_filter(member, path)
        is_file = stat.S_ISREG(os.lstat(os.path.join(path, found.linkname)).st_mode)
    except (tarfile.FilterError, OSError):
        return None
    return found if is_file and not os.path.lexists(os.path.join(path, found.name)) else None


def _link(links: Iterable[tarfile.TarInfo], fresh: Path, top: Path) -> None:
    """Make the symbolic links of `fresh` that are below `top` and do not lead out of it."""
    placed = [(fresh.joinpath(*_steps(link.name)), link.linkname) for link in links if ".." not in _steps(link.name)]
    inside = [(place, target) for place, target in placed if top in place.parents and _stays(place, target, top)]
    # Before any link is there, so that no link is in the way to another.
    for place, _ in inside:
        place.parent.mkdir(parents=True, exist_ok=True)
    for place, target in inside:
        if not os.path.lexists(place):
            place.symlink_to(target)


def _stays(place: Path, target: str, top: Path) -> bool:
    """Whether a link goes up no further than `top`, and then only down: so it does wherever other links lead."""
    steps = _steps(target)
    down = [step for step in steps if step != ".."]
    ups = len(steps) - len(down)
    is_relative = bool(target) and not target.startswith("/")
    return is_relative and steps[ups:] == down and ups < len(place.relative_to(top).parts)


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]
