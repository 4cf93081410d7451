"""PartitionManager against a model in memory, with kills at every byte, errors, short writes and power cuts.

The model knows the chunks; the state files say which of them the manager vouches for. Whenever the manager is alive,
each partition must hold exactly the rows of the chunks vouched for, and what was forwarded must be vouched for.
"""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chaoskit.durable.errors import DurableError, MustExitError, WriteFailedError
from chaoskit.durable.partition import ChunkStatus, PartitionManager

from .machine import Crash, Fault, Machine
from .partition_bugs import BUGS
from .partition_pipeline import CLIENT, COLUMNS, PARTITIONS, Row, data_dir, rows_in_files

ISSUE_BUGS = (
    "records_the_pairs_before_the_rows",
    "repairs_no_tail",
    "drops_a_whole_line_at_the_repair",
    "writes_whole_rows_again_after_a_kill_before_the_record",
    "never_heals_a_torn_header",
    "takes_a_line_break_in_quotes_for_the_end_of_a_row",
)

names = st.text(alphabet='a,"\n\rÖ ', max_size=6)
rows = st.lists(st.tuples(st.integers(-3, 6).map(str), names), max_size=5).map(tuple)
kills = st.builds(
    Fault, at=st.integers(0, 25), kind=st.sampled_from(["kill", "tear", "tear"]), cut_bytes=st.integers(1, 40)
)
errors = st.builds(
    Fault, at=st.integers(0, 25), kind=st.sampled_from(["ENOSPC", "EIO", "short"]), cut_bytes=st.integers(1, 20)
)
faults = st.lists(st.one_of(kills, errors), max_size=2)
power_cuts = st.one_of(
    st.none(),
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"entries_of_kernel": st.just(True), "tail": st.sampled_from([0.0, 0.5])}),
    st.fixed_dictionaries(
        {"spared": st.sampled_from(["data/state/intent", "data/state/written-partition-chunks.txt"])}
    ),
)


class PartitionMachine(RuleBasedStateMachine):
    """One data directory over many lives."""

    directory: ClassVar[Path]
    kind: ClassVar[type[PartitionManager]] = PartitionManager
    _numbers: ClassVar[count[int]] = count()

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(self.directory / str(next(self._numbers)))
        self.chunks: dict[str, tuple[Row, ...]] = {}
        self.forwarded: set[str] = set()
        self.acknowledged: set[str] = set()
        self.is_alive = False

    def teardown(self) -> None:
        self.machine.restart()
        shutil.rmtree(self.machine.root)

    @initialize(compact_pairs_above=st.sampled_from([1, 4, 1000]))
    def configure(self, compact_pairs_above: int) -> None:
        self.compact_pairs_above = compact_pairs_above

    @precondition(lambda self: not self.is_alive)
    @rule(planned=st.lists(kills, max_size=1))
    def start(self, planned: list[Fault]) -> None:
        """A new life, which may end in its recovery.

        No errors here: entries of a directory whose fsync failed are lost in the model until they are made again, and
        a recovery cannot make directories and files again that it finds.
        """
        self.machine.plan(*planned)
        self.manager = self.kind(
            data_dir(self.machine),
            PARTITIONS,
            columns=COLUMNS,
            compact_pairs_above=self.compact_pairs_above,
            system=self.machine,
        )
        try:
            self.manager.recover()
            self.is_alive = True
        except (Crash, MustExitError, WriteFailedError):
            self.machine.restart()

    @precondition(lambda self: self.is_alive)
    @rule(chunk_rows=rows, planned=faults)
    def new_chunk(self, chunk_rows: tuple[Row, ...], planned: list[Fault]) -> None:
        chunk_id = f"c{len(self.chunks)}"
        self.chunks[chunk_id] = chunk_rows
        self.deliver(chunk_id, planned)

    @precondition(lambda self: self.is_alive and self.chunks)
    @rule(data=st.data(), planned=faults)
    def old_chunk(self, data: st.DataObject, planned: list[Fault]) -> None:
        """One that was not acknowledged comes again, or a duplicate of one that was."""
        self.deliver(data.draw(st.sampled_from(sorted(self.chunks))), planned)

    @precondition(lambda self: self.is_alive)
    @rule(power_cut=power_cuts)
    def die_between_chunks(self, power_cut: dict[str, object] | None) -> None:
        self.is_alive = False
        self.machine.restart()
        if power_cut is not None:
            self.machine.power_cut(**power_cut)

    @precondition(lambda self: not self.is_alive)
    @rule(power_cut=power_cuts)
    def lose_power_while_dead(self, power_cut: dict[str, object] | None) -> None:
        if power_cut is not None:
            self.machine.power_cut(**power_cut)

    def deliver(self, chunk_id: str, planned: list[Fault]) -> None:
        self.machine.plan(*planned)
        try:
            result = self.manager.write_chunk(CLIENT, chunk_id, self.chunks[chunk_id])
            assert (result.status is ChunkStatus.PROCESSED) == (
                chunk_id in self.acknowledged or self.is_recorded(chunk_id)
            )
            self.forwarded.add(chunk_id)
            self.manager.mark_processed(chunk_id)
            assert self.manager.is_processed(chunk_id)
            self.acknowledged.add(chunk_id)
        except (Crash, MustExitError):
            self.is_alive = False
            self.machine.restart()
        except WriteFailedError:
            self.machine.plan()

    def is_recorded(self, chunk_id: str) -> bool:
        return chunk_id in self.state_lines("processed-chunks.txt")

    def state_lines(self, name: str) -> list[str]:
        path = data_dir(self.machine) / "state" / name
        return path.read_text().splitlines() if path.exists() else []

    @invariant()
    def files_hold_what_the_state_vouches_for(self) -> None:
        if not self.is_alive:
            return
        processed = self.state_lines("processed-chunks.txt")
        pairs = set(self.state_lines("written-partition-chunks.txt"))
        assert len(set(processed)) == len(processed)
        assert self.acknowledged <= set(processed) <= self.forwarded
        expected: list[Counter[Row]] = [Counter() for _ in range(PARTITIONS)]
        for chunk_id, chunk_rows in self.chunks.items():
            for row in chunk_rows:
                partition = int(row[0]) % PARTITIONS
                if chunk_id in processed or f"{partition}:{chunk_id}" in pairs:
                    expected[partition][row] += 1
                else:
                    assert chunk_id not in self.forwarded
        assert rows_in_files(self.machine) == expected


def run(max_examples: int, *, steps: int = 12) -> None:
    run_state_machine_as_test(
        PartitionMachine,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartitionMachine, "directory", tmp_path, raising=False)


def test_the_manager_agrees_with_the_model() -> None:
    run(200)


@pytest.mark.soak
def test_the_manager_agrees_with_the_model_for_long() -> None:
    run(3_000, steps=25)


@pytest.mark.parametrize("name", ISSUE_BUGS)
def test_the_model_finds_a_planted_bug(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartitionMachine, "kind", BUGS[name](monkeypatch))
    with pytest.raises((AssertionError, ValueError, DurableError)):
        run(1_000)
