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


PIPE = {"type": tarfile.FIFOTYPE}
DEVICE = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}


def link(target: str) -> dict[str, object]:
    return {"type": tarfile.SYMTYPE, "linkname": target}


def second_name(of: str) -> dict[str, object]:
    return {"type": tarfile.LNKTYPE, "linkname": of}


def test_outward_links_pipes_and_devices_are_left_out(tmp_path: Path) -> None:
    outward = ["/etc", "/", "..", "../other", "sub/../../other", "./../other", "sub/../file", ""]
    links = [(f"volume/link{i}", b"", link(target)) for i, target in enumerate(outward)]
    odd = [("volume/pipe", b"", PIPE), ("volume/device", b"", DEVICE), ("../beside", b"", link("volume"))]
    members = [*links, *odd, ("beside", b"", link("volume")), ("volume/sub/up", b"", link("../../x"))]
    unpack(sent(("volume", None, {}), *members, ("volume/file", b"x", {})), tmp_path / "data")
    assert below(tmp_path) == ["data", "data/file"]


def test_relative_links_that_stay_inside_come_along(tmp_path: Path) -> None:
    targets = {"current": "v2", "sub/up": "../v2/rows.csv", "sub/here": ".", "gone": "v1", "sub/root": ".."}
    links = [(f"volume/{name}", b"", link(target)) for name, target in targets.items()]
    unpack(sent(("volume", None, {}), *links, ("volume/v2/rows.csv", b"x", {})), tmp_path / "data")
    assert {name: os.readlink(tmp_path / "data" / name) for name in targets} == targets
    assert (tmp_path / "data/current/rows.csv").read_bytes() == (tmp_path / "data/sub/up").read_bytes() == b"x"
    assert below(tmp_path / "data/v2") == ["rows.csv"]


def test_a_second_name_of_a_file_comes_along(tmp_path: Path) -> None:
    names = [("volume/v2.csv", b"", second_name("volume/v1.csv")), ("volume/a/b", b"", second_name("volume/v2.csv"))]
    unpack(sent(("volume", None, {}), ("volume/v1.csv", b"rows", {"mode": 0}), *names), tmp_path / "data")
    assert below(tmp_path / "data") == ["a", "a/b", "v1.csv", "v2.csv"]
    assert (tmp_path / "data/a/b").read_bytes() == b"rows"
    assert os.stat(tmp_path / "data/a/b").st_nlink == 3
    assert os.stat(tmp_path / "data/v1.csv").st_mode & 0o600 == 0o600


def test_a_second_name_of_anything_else_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    others = [("volume/pipe", b"", PIPE), ("volume/link", b"", link(str(tmp_path / "secret")))]
    of = ["volume/pipe", "volume/link", "volume", "volume/nothing", "../secret", str(tmp_path / "secret")]
    names = [(f"volume/name{i}", b"", second_name(target)) for i, target in enumerate(of)]
    outward = [("../name", b"", second_name("volume/file")), ("volume/file", b"", second_name("volume/file"))]
    unpack(sent(("volume", None, {}), ("volume/file", b"x", {}), *others, *names, *outward), tmp_path / "data")
    assert below(tmp_path) == ["data", "data/file", "secret"]


def test_links_that_lead_through_each_other_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    # Each is inside as long as the others are not there, or where it seems to be.
    crossing = {"p": ".", "q": ".", "out": "p/q/../../../other", "p/deep/up": "../../../other", "p/up": "../other"}
    links = [(f"volume/{name}", b"", link(target)) for name, target in crossing.items()]
    unpack(sent(("volume", None, {}), *links), tmp_path / "data")
    root = tmp_path / "data"
    assert [path for path in root.rglob("*") if not path.resolve().is_relative_to(root)] == []
    assert os.readlink(root / "q") == "."


def test_what_is_sent_below_a_link_is_no_part_of_where_it_leads(tmp_path: Path) -> None:
    members = [("volume/link", b"", link("v2")), ("volume/v2/file", b"x", {}), ("volume/link/file", b"y", {})]
    unpack(sent(("volume", None, {}), *members), tmp_path / "data")
    assert (tmp_path / "data/v2/file").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../outside", "volume/../../outside", "volume/link/outside"])
def test_nothing_leaves_the_directory(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    outward = ("volume/link", b"", link(str(outside)))
    try:
        unpack(sent(("volume", None, {}), outward, (name, b"x", {})), tmp_path / "deep" / "data")
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
