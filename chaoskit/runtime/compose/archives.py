"""A directory of a container, copied to this machine. What a container holds is not to be trusted with our files."""

import io
import shutil
import tarfile
from pathlib import Path

from chaoskit.model.errors import EnvironmentProblem


def unpack(archive: bytes, destination: Path) -> None:
    """Make `destination` hold what is in the one directory of a tar, in place of what was there.

    Links that lead out of it, devices and the like are left out. Raises EnvironmentProblem when it is no such tar.
    """
    fresh = destination.with_name(f"{destination.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(fresh, filter=_harmless)
    except (tarfile.TarError, OSError) as e:
        raise EnvironmentProblem(f"the data of a container cannot be copied to {destination}: {e}") from None
    tops = list(fresh.iterdir())
    shutil.rmtree(destination, ignore_errors=True)
    if len(tops) == 1 and tops[0].is_dir():
        tops[0].rename(destination)
        fresh.rmdir()
    else:
        fresh.rename(destination)


def _harmless(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    if not (member.isfile() or member.isdir()):
        return None
    found = tarfile.data_filter(member, path)
    # Readable for whoever runs chaoskit, whatever it was inside.
    found.mode = (found.mode or 0) | (0o700 if member.isdir() else 0o600)
    return found
