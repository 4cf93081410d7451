"""What the agent's container runs, as a tar: the parts of this package that it needs, and pamqp, wherever they are.

They are sent to the container, never mounted: the engine may be on another machine. Nothing is written to disk here.
"""

import importlib.util
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from chaoskit.model.errors import EnvironmentProblem

# Where the files are in the container; the agent runs with it as its PYTHONPATH.
FOLDER = "/opt/chaoskit"
_PARTS = ("tap", "proxy", "agent")
_LEFT_OUT = {"__pycache__"}
_NOT_EXECUTABLE, _EXECUTABLE = 0o644, 0o755


def archive() -> bytes:
    """A tar to unpack at `/` of a container, root's and readable for everybody; the same bytes for the same files.

    Raises EnvironmentProblem when a package is not installed as files.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in sorted(_files()):
            tar.addfile(*_member(name, path.read_bytes(), bool(path.stat().st_mode & 0o100)))
    return buffer.getvalue()


def _member(name: str, content: bytes, executable: bool) -> tuple[tarfile.TarInfo, io.BytesIO]:
    member = tarfile.TarInfo(f"{FOLDER.strip('/')}/{name}")
    member.size = len(content)
    member.mode = _EXECUTABLE if executable else _NOT_EXECUTABLE
    return member, io.BytesIO(content)


def _files() -> Iterator[tuple[str, Path]]:
    ours = _folder_of("chaoskit")
    yield "chaoskit/__init__.py", ours / "__init__.py"
    for part in _PARTS:
        yield from _below(ours / part, f"chaoskit/{part}")
    yield from _below(_folder_of("pamqp"), "pamqp")


def _below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        if path.is_file() and not _LEFT_OUT.intersection(path.parts):
            yield f"{name}/{path.relative_to(folder).as_posix()}", path


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise EnvironmentProblem(f"{package} is not installed as files: install it with pip, not as a zip")
    return Path(found.origin).parent
