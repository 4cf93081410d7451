"""What the verifier of partition-writes sees in the files of worker 2: each damage is blamed on the right chunk."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCENARIO = Path(__file__).parents[2] / "scenarios" / "partition-writes"
PARTITIONS = 2
FIRST_ROWS = (("2", "Ann"), ("3", "two\nlines"), ("5", "same"))
SECOND_ROWS = (("4", 'say "hi"'), ("5", "same"), ("7", "Zoë, Jr."))
EVEN = 'user_id,name\n2,Ann\n4,"say ""hi"""\n'
ODD = 'user_id,name\n3,"two\nlines"\n5,same\n5,same\n7,"Zoë, Jr."\n'


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    monkeypatch.syspath_prepend(str(SCENARIO))
    yield importlib.import_module
    for name in ("partition_audit", "chunk_data"):
        sys.modules.pop(name, None)


@pytest.fixture
def audit(modules: Callable[[str], Any], tmp_path: Path) -> Any:
    """An audit of two chunks, A and B, over files that are right."""
    chunk = modules("chunk_data").Chunk
    (tmp_path / "partitions").mkdir()
    (tmp_path / "state").mkdir()
    file(tmp_path, 0).write_text(EVEN)
    file(tmp_path, 1).write_text(ODD)
    (tmp_path / "state" / "processed-chunks.txt").write_text("A\nB\n")
    (tmp_path / "state" / "written-partition-chunks.txt").write_text("0:A\n1:A\n0:B\n1:B\n")
    chunks = [chunk("A", FIRST_ROWS), chunk("B", SECOND_ROWS)]
    return modules("partition_audit").Audit(str(tmp_path), "TEST", PARTITIONS, chunks)


def file(tmp_path: Path, partition: int) -> Path:
    return tmp_path / "partitions" / f"TEST-users-partition-{partition:03d}.csv"


def test_files_that_are_right_have_no_problem(audit: Any) -> None:
    assert (audit.while_running(["A"]), audit.while_running(["A", "B"]), audit.at_the_end()) == ({}, {}, {})


def test_what_the_worker_is_busy_with_is_no_problem_while_it_runs(audit: Any, tmp_path: Path) -> None:
    file(tmp_path, 0).write_text(EVEN + '4,"say')
    file(tmp_path, 1).write_text(ODD + '7,"Zoë, Jr."\n9,"half a\n')
    assert audit.while_running(["A", "B"]) == {}


@pytest.mark.parametrize(
    ("partition", "content", "blamed"),
    [
        (0, "user_id,name\n2,Ann\n", {"B"}),
        (0, EVEN + "2,Ann\n", {"A"}),
        (0, EVEN + '4,"sa', {"B"}),
        (0, 'user_i2,Ann\n4,"say ""hi"""\n', {"A"}),
        (0, '2,Ann\n4,"say ""hi"""\n', {"A"}),
        (0, EVEN + "user_id,name\n", {"unknown"}),
        (0, EVEN + "888888,Nobody\n", {"unknown"}),
        (0, 'user_id,name\n2,An2,Ann\n4,"say ""hi"""\n', {"A"}),
        (0, EVEN + '7,"Zoë, Jr."\n', {"B"}),
        (0, "", {"A", "B"}),
        (1, ODD.replace("5,same\n", "", 1), {"A", "B"}),
        (1, 'user_id,name\n3,"two\n3,"two\nlines"\n5,same\n5,same\n7,"Zoë, Jr."\n', {"A", "B"}),
    ],
)
def test_damage_is_blamed_on_its_chunk(audit: Any, tmp_path: Path, partition: int, content: str, blamed: set) -> None:
    file(tmp_path, partition).write_text(content)
    assert set(audit.at_the_end()) == blamed


def test_a_missing_file_is_blamed_on_all_chunks_with_rows_in_it(audit: Any, tmp_path: Path) -> None:
    file(tmp_path, 1).unlink()
    assert set(audit.while_running(["A"])) == {"A"}
    assert set(audit.at_the_end()) == {"A", "B"}


def test_a_file_that_does_not_belong_to_the_run_is_a_problem(audit: Any, tmp_path: Path) -> None:
    file(tmp_path, 2).write_text("user_id,name\n2,Ann\n")
    assert audit.at_the_end() == {"A": "TEST-users-partition-002.csv is no file of this run"}


@pytest.mark.parametrize(
    ("name", "content", "blamed"),
    [
        ("processed-chunks.txt", "A\nB\nA\n", {"A"}),
        ("processed-chunks.txt", "A\nB\nC\n", {"C"}),
        ("written-partition-chunks.txt", "0:A\n1:A\n1:B\n", {"B"}),
        ("written-partition-chunks.txt", "0:A\n0:A\n1:A\n0:B\n1:B\n", {"A"}),
        ("written-partition-chunks.txt", "0:A\n1:A\n0:B\n1:B\n0:C\n", {"unknown"}),
        ("written-partition-chunks.txt", "0A\n", {"unknown"}),
    ],
)
def test_state_files_that_disagree_are_a_problem(
    audit: Any, tmp_path: Path, name: str, content: str, blamed: set[str]
) -> None:
    (tmp_path / "state" / name).write_text(content)
    assert set(audit.at_the_end()) == blamed


def test_pairs_of_processed_chunks_may_be_gone(audit: Any, tmp_path: Path) -> None:
    (tmp_path / "state" / "written-partition-chunks.txt").write_text("0:B\n1:B\n")
    assert audit.at_the_end() == {}


def test_the_same_seed_makes_the_same_chunks_and_more_chunks_begin_with_them(modules: Callable[[str], Any]) -> None:
    chunks = modules("chunk_data").chunks
    assert chunks("TEST", 5, 1) == chunks("TEST", 20, 1)[:5] != chunks("TEST", 5, 2)
    assert all(10 <= len(chunk.rows) <= 20 for chunk in chunks("TEST", 50, 3))


def test_some_rows_stand_in_several_chunks(modules: Callable[[str], Any]) -> None:
    made = modules("chunk_data").chunks("TEST", 20, 0)
    rows = [row for chunk in made for row in set(chunk.rows)]
    assert len(rows) > len(set(rows))
