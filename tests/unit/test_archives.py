"""What a container sends as the content of a directory is put into that directory, and nowhere else."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from chaoskit.model.errors import EnvironmentProblem
from chaoskit.runtime.compose.archives import unpack


def sent(*members: tuple[str, bytes | None, dict[str, object]]) -> Iterator[bytes]:
    """A tar in small pieces: of each member its name, its content (None for no file), and other fields."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            info.type = tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content or b""))
    return iter([made.getvalue()[start : start + 1000] for start in range(0, len(made.getvalue()), 1000)])


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_one_directory_of_it_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    destination = tmp_path / "data"
    destination.mkdir()
    (destination / "old").touch()
    unpack(sent(("volume", None, {}), ("volume/CLI1.csv", b"1,2\n" * 5000, {"mode": 0})), destination)
    assert below(tmp_path) == ["data", "data/CLI1.csv"]
    assert (destination / "CLI1.csv").read_bytes() == b"1,2\n" * 5000
    assert os.stat(destination / "CLI1.csv").st_mode & 0o600 == 0o600


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc"}
PIPE = {"type": tarfile.FIFOTYPE}
DEVICE = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}


def test_links_pipes_and_devices_are_left_out(tmp_path: Path) -> None:
    odd = [("volume/link", b"", LINK), ("volume/pipe", b"", PIPE), ("volume/device", b"", DEVICE)]
    unpack(sent(("volume", None, {}), *odd, ("volume/file", b"x", {})), tmp_path / "data")
    assert below(tmp_path) == ["data", "data/file"]


@pytest.mark.parametrize("name", ["../outside", "volume/../../outside", "volume/link/outside"])
def test_nothing_leaves_the_directory(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    link = ("volume/link", b"", {"type": tarfile.SYMTYPE, "linkname": str(outside)})
    try:
        unpack(sent(("volume", None, {}), link, (name, b"x", {})), tmp_path / "deep" / "data")
    except EnvironmentProblem as error:
        assert "outside" in str(error)
    assert below(outside) == []
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "deep" / "outside").exists()


def test_an_absolute_name_is_one_below_the_directory(tmp_path: Path) -> None:
    target = tmp_path / "absolute"
    unpack(sent((str(target), b"x", {})), tmp_path / "data")
    assert not target.exists()


def broken() -> Iterator[bytes]:
    yield b"x" * 2000


def cut_off() -> Iterator[bytes]:
    yield from list(sent(("volume", None, {}), ("volume/file", b"x" * 9000, {})))[:5]


@pytest.mark.parametrize("pieces", [broken, cut_off])
def test_what_is_no_whole_tar_is_one_line(tmp_path: Path, pieces: Callable[[], Iterator[bytes]]) -> None:
    with pytest.raises(EnvironmentProblem, match="the data of a container cannot be copied to"):
        unpack(pieces(), tmp_path / "data")


def test_an_engine_that_goes_away_is_for_others_to_tell(tmp_path: Path) -> None:
    def lost() -> Iterator[bytes]:
        yield b"x"
        raise requests.exceptions.ConnectionError("gone")

    with pytest.raises(requests.exceptions.ConnectionError):
        unpack(lost(), tmp_path / "data")
