"""DeadLetters: durable, bounded, repaired."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from chaoskit.durable.dead_letters import DeadLetters
from chaoskit.durable.errors import WriteFailedError

from .machine import Fault, Machine


def entries(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_message_is_kept_with_its_reason_and_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "rejected" / "messages.jsonl"
    DeadLetters(path).add(b"\xff\0\n", "it is not JSON")
    (entry,) = entries(path)
    assert entry["reason"] == "it is not JSON"
    assert base64.b64decode(str(entry["body_base64"])) == b"\xff\0\n"


def test_of_a_huge_message_the_start_and_the_length_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    DeadLetters(path, max_body_bytes=4).add(b"123456789", "r" * 10_000)
    (entry,) = entries(path)
    assert (base64.b64decode(str(entry["body_base64"])), entry["bytes"]) == (b"1234", 9)
    assert len(str(entry["reason"])) == 500


def test_the_files_stay_within_their_bound_and_the_newest_message_is_there(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    letters = DeadLetters(path, max_bytes=1000)
    for number in range(100):
        letters.add(b"x" * 50, f"reason {number}")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["messages.jsonl", "messages.jsonl.1"]
    assert all(file.stat().st_size <= 1000 for file in tmp_path.iterdir())
    assert entries(path)[-1]["reason"] == "reason 99"


def test_a_torn_line_of_an_earlier_life_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    DeadLetters(path).add(b"one", "r")
    with path.open("ab") as file:
        file.write(b'{"reason": "to')
    DeadLetters(path).add(b"two", "r")
    assert len(entries(path)) == 2


def test_a_message_is_durable_when_add_returns_and_absent_when_it_fails(quick_path: Path) -> None:
    machine = Machine(quick_path / "root")
    path = machine.root / "rejected" / "messages.jsonl"
    letters = DeadLetters(path, system=machine)
    letters.add(b"one", "r")
    machine.plan(Fault(0, "ENOSPC"))
    with pytest.raises(WriteFailedError):
        letters.add(b"two", "r")
    letters.add(b"three", "r")
    machine.power_cut()
    assert [base64.b64decode(str(entry["body_base64"])) for entry in entries(path)] == [b"one", b"three"]
