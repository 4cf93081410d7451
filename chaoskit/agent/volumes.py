"""The data directories of a run, as the agent has them mounted: kept as they were made, and made so again.

A volume that is fresh holds what its image put there, with the owners that the image gave; that is kept aside before
the first program starts, so that many runs, one after the other, begin alike.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from chaoskit.agent.wire import DATA

_PRISTINE = Path("/pristine")
_COPY_LIMIT_S = 600
_READ_BYTES = 1 << 20


def directory(volume: str, inside: str = ".") -> Path:
    """A directory of a mounted volume. Raises ValueError when it leads out of it."""
    root = Path(DATA) / volume
    path = (root / inside).resolve()
    if Path(volume).name != volume or not path.is_relative_to(root.resolve()):
        raise ValueError(f"{volume}/{inside} is no directory of a volume")
    return path


def keep(volumes: Sequence[str]) -> None:
    """Keep what the volumes hold now. Raises OSError."""
    for volume in volumes:
        kept = _PRISTINE / volume
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        _copy(directory(volume), kept)


def restore(volumes: Sequence[str]) -> None:
    """Make the volumes hold what was kept of them, and nothing else. Raises OSError."""
    for volume in volumes:
        root = directory(volume)
        for entry in root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        _copy(_PRISTINE / volume, root)


def digest(folder: Path) -> str:
    """A digest of the names and contents below a directory; links are not followed.

    Others may write there meanwhile: what has gone when its turn comes counts as its name.
    """
    digest = hashlib.blake2b(digest_size=16)
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = Path(root, name)
            digest.update(str(path.relative_to(folder)).encode(errors="surrogateescape") + b"\0")
            if path.is_file() and not path.is_symlink():
                _add_content(digest, path)
            digest.update(b"\0")
    return digest.hexdigest()


def _add_content(digest: "hashlib.blake2b", path: Path) -> None:
    with suppress(FileNotFoundError), path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)


def _copy(source: Path, destination: Path) -> None:
    """Owners, modes, times, links and all; the directory itself too."""
    command = ["cp", "--archive", "--no-target-directory", str(source), str(destination)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COPY_LIMIT_S)
    if done.returncode != 0:
        raise OSError(0, f"the data cannot be copied: {done.stderr.strip()[-300:]}")
