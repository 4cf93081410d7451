"""Rules as data, names of crash points, and what the filter refuses."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.tap import Rule
from chaoskit.tap.filter import compile_filter
from chaoskit.tap.names import stable_name
from chaoskit.tap.rules import Arming

from .conftest import Outcome, run

Python = Callable[..., Outcome]


@given(
    st.builds(
        Rule,
        id=st.text(),
        op=st.sampled_from(["write", "send"]),
        path=st.text(),
        nth=st.integers(1),
        when=st.sampled_from(["before", "inside", "after"]),
        byte=st.none() | st.integers(0) | st.sampled_from(["first", "middle", "last"]),
        life=st.none() | st.integers(0),
        action=st.sampled_from(["kill", "short", "pause"]),
        times=st.none() | st.integers(1),
    )
)
def test_a_rule_survives_json(rule: Rule) -> None:
    assert Rule.from_json(rule.to_json()) == rule


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "read"},
        {"op": "fsync", "when": "inside"},
        {"op": "rename", "action": "short"},
        {"op": "write", "nth": 0},
        {"op": "write", "times": 0},
        {"op": "write", "when": "during"},
        {"op": "write", "byte": -1},
        {"op": "write", "byte": "most"},
        {"op": "write", "action": "errno"},
        {"op": "write", "action": "errno", "errno": "ENOTHING"},
        {"op": "write", "unheard_of": 1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_one_line(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^rule r: [^\n]+$"):
        Rule.from_json({"id": "r", **fields})


@pytest.mark.parametrize(
    ("byte", "size", "expected"),
    [(7, 20, 7), (7, 7, 7), ("first", 9, 1), ("middle", 9, 4), ("last", 9, 8), ("last", 1, 0), (None, 8, 4)],
)
def test_a_position_is_turned_into_bytes(byte: int | str | None, size: int, expected: int) -> None:
    assert Rule("r", op="write", when="inside", byte=byte).written_bytes(size) == expected


@pytest.mark.parametrize(
    ("action", "byte", "fires"),
    [
        ("kill", 9, True),
        ("kill", 10, True),
        ("kill", 11, False),
        ("kill", "last", True),
        ("short", 9, True),
        ("short", 10, False),
        ("short", "middle", True),
    ],
)
def test_a_byte_beyond_the_end_of_a_write_is_no_place(action: str, byte: int | str, fires: bool) -> None:
    rule = Rule("r", op="write", when="inside", byte=byte, action=action)
    assert (Arming([rule], life=0).due("write", "a", 10) is rule) == fires


def test_a_rule_that_clamps_hurts_a_shorter_write_at_its_end() -> None:
    rule = Rule("r", op="write", when="inside", byte=11, clamps=True)
    assert Arming([rule], life=0).due("write", "a", 10) is rule
    assert rule.written_bytes(10) == 10


def test_two_rules_at_one_call_fire_one_after_the_other() -> None:
    first = Rule("first", op="write", path="a", nth=2, action="errno", errno="EIO")
    second = Rule("second", op="write", path="*", nth=2)
    arming = Arming([first, second], life=0)
    assert arming.due("write", "a", 10) is None
    arming.succeeded("write", "a")
    assert arming.due("write", "a", 10) is first
    arming.fire(first)
    assert arming.due("write", "a", 10) is second
    assert arming.due("fsync", "a", 10) is None
    arming.fire(second)
    assert arming.rules == []


def test_a_pattern_is_also_taken_literally() -> None:
    arming = Arming([Rule("r", op="write", path="a[1].csv")], life=0)
    assert arming.due("write", "a[1].csv", 10) is not None
    assert arming.due("write", "a1.csv", 10) is not None
    assert arming.due("write", "a2.csv", 10) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("d/tmpk3x_9a2b", "d/tmp"),
        ("tmpk3x_9a2b.csv", "tmp.csv"),
        ("d/state.csv.tmp.8aYz_1", "d/state.csv.tmp"),
        ("state.tmp4711", "state.tmp"),
        ("state.4711.tmp", "state.tmp"),
        ("metadata/CLI1.csv", "metadata/CLI1.csv"),
        ("TEST-users-partition-000.csv", "TEST-users-partition-000.csv"),
        ("state.tmp", "state.tmp"),
        ("tmpfiles.d/x", "tmpfiles.d/x"),
        (".", "."),
        ("ä/ß ü.csv", "ä/ß ü.csv"),
        (os.fsdecode(b"caf\xe9.csv"), r"caf\xe9.csv"),
        ("two\nlines\t.csv", r"two\nlines\t.csv"),
    ],
)
def test_names_of_temporary_files_are_the_same_in_every_run(path: str, expected: str) -> None:
    assert stable_name(path) == expected


def test_a_real_temporary_file_has_a_stable_name(python: Python) -> None:
    source = """
        import tempfile
        for name in "ab":
            with tempfile.NamedTemporaryFile(dir=".", delete=False) as file:
                file.write(b"x")
            os.replace(file.name, name)
    """
    points = python("import site; site.main()\n" + source.replace("\n        ", "\n")).points
    assert points == ["create:tmp#1", "write:tmp#1", "rename:a#1", "create:tmp#2", "write:tmp#2", "rename:b#1"]


def test_the_filter_fits_and_differs_between_machines() -> None:
    programs = {machine: compile_filter(machine) for machine in ("x86_64", "aarch64")}
    assert all(len(program) % 8 == 0 and len(program) < 4096 * 8 for program in programs.values())
    assert programs["x86_64"] != programs["aarch64"]
    with pytest.raises(OSError, match="riscv64"):
        compile_filter("riscv64")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_calls_of_a_foreign_abi_do_not_slip_through(root: Path, tmp_path: Path) -> None:
    code = r"""
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <stdio.h>
        #include <unistd.h>
        #include <sys/syscall.h>
        int main(void) {
            int f = open("f", O_CREAT | O_WRONLY, 0644);
            long x32 = syscall(0x40000000 + 1, f, "x32", 3), i386 = 0;
            int error = errno;
            __asm__ volatile("int $0x80" : "=a"(i386) : "a"(4), "b"(f), "c"(0), "d"(0) : "memory");
            printf("%ld %d %ld\n", x32, error, i386);
            return 0;
        }"""
    (tmp_path / "p.c").write_text(code)
    built = subprocess.run(["gcc", "-o", tmp_path / "p", tmp_path / "p.c"], check=False, capture_output=True)
    if built.returncode != 0:
        pytest.skip("this machine has no i386 calls")
    assert run([str(tmp_path / "p")], root).output == "-1 38 -38\n"
    assert (root / "f").read_bytes() == b""


def test_a_failing_look_up_leaks_no_descriptor(python: Python, root: Path) -> None:
    source = """
        def failing(call, *arguments):
            try:
                call(*arguments)
            except OSError:
                return
            raise AssertionError(call)
        open("f", "w").close()
        for _ in range(1500):
            failing(os.rename, "f", "missing/f")
            failing(os.mkdir, "f/")
            failing(os.open, "f/x", os.O_CREAT)
        print("fine")
    """
    assert python(source).output == "fine\n"
