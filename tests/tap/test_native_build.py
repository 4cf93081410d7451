"""The launcher's executables are those of the source, they are small and static, and the same source makes the same."""

import importlib.util
import json
import os
import re
import shutil
import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from chaoskit.tap.native import build, launcher

ROOT = Path(__file__).parents[2]
_REQUIRE = "CHAOSKIT_REQUIRE_ZIG"
_LIMIT_BYTES = 8192
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_GNU_STACK = 1, 2, 3, 0x6474E551
_EXECUTABLE, _WRITABLE = 1, 2


class Segment(NamedTuple):
    """One program header of an executable."""

    kind: int
    flags: int


def segments(executable: bytes) -> list[Segment]:
    (offset,) = struct.unpack_from("<Q", executable, 32)
    size, count = struct.unpack_from("<HH", executable, 54)
    return [Segment(*struct.unpack_from("<II", executable, offset + size * index)) for index in range(count)]


@pytest.fixture
def compiler() -> None:
    """Skips the test without the pinned compiler; with CHAOSKIT_REQUIRE_ZIG=1 it fails instead."""
    problem = build.compiler_missing()
    if problem is not None and os.environ.get(_REQUIRE) == "1":
        pytest.fail(f"{_REQUIRE}=1 and no compiler: {problem}")
    if problem is not None:
        pytest.skip(problem)


def test_the_executables_were_built_from_this_source_with_these_flags() -> None:
    recorded = json.loads(build.MANIFEST.read_text())
    assert recorded == build.manifest(), "run python -m chaoskit.tap.native.build and commit what it writes"


def test_a_changed_source_is_noticed_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in build.digests():
        shutil.copy(build.FOLDER / name, tmp_path / name)
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    assert build.manifest() == json.loads(build.MANIFEST.read_text())
    with (tmp_path / "launcher.c").open("a") as source:
        source.write("\n")
    assert build.manifest() != json.loads(build.MANIFEST.read_text())


def test_the_pinned_compiler_is_the_one_that_the_project_names() -> None:
    pins = re.findall(r'"ziglang==([^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert pins == [build.ZIG_VERSION]


@pytest.mark.parametrize("machine", build.MACHINES)
def test_the_same_source_makes_the_same_bytes_wherever_it_lies(compiler: None, tmp_path: Path, machine: str) -> None:
    source = shutil.copy(build.SOURCE, tmp_path / "elsewhere.c")
    assert build.compile_launcher(machine, Path(source)) == launcher(machine)


@pytest.mark.parametrize("machine", build.MACHINES)
def test_an_executable_is_small_static_and_has_no_writable_code(machine: str) -> None:
    executable = launcher(machine)
    assert len(executable) < _LIMIT_BYTES
    assert executable[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<HH", executable, 16) == (2, _ELF_MACHINES[machine])
    found = segments(executable)
    kinds = {segment.kind for segment in found}
    assert {_PT_LOAD, _PT_GNU_STACK} <= kinds
    assert not {_PT_INTERP, _PT_DYNAMIC} & kinds
    assert [segment for segment in found if segment.flags & _WRITABLE and segment.flags & _EXECUTABLE] == []


def test_a_machine_has_the_names_that_kernels_and_engines_give_it() -> None:
    assert launcher("arm64") == launcher("aarch64") != launcher("x86_64") == launcher("amd64")


def test_a_machine_without_a_launcher_is_named() -> None:
    with pytest.raises(OSError, match="no launcher for riscv64, only for x86_64 and aarch64"):
        launcher("riscv64")


def test_the_compiler_is_no_part_of_what_users_install() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    needed = text.split("dependencies = [")[1].split("]")[0]
    assert "ziglang" not in needed


def test_a_missing_compiler_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert build.compiler_missing() == f"ziglang is not installed: pip install ziglang=={build.ZIG_VERSION}"
