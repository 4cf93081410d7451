"""The planted bugs, one row each: which program, and what an exploration has to be asked for to meet its mistake.

A row's description is the first line of its program's text. Rows that are not `planted` are negative controls: workers
that are correct, or different and as good, and have to survive everything. It runs nothing.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
_DEFAULT = ("kill", "power-loss", "short-write")
_DISK = (*_DEFAULT, "enospc", "eio")


@dataclass(frozen=True)
class Bug:
    """One worker. `program` is its file, `inputs` a test runner that sends more than the scenario's own does."""

    program: str
    faults: tuple[str, ...] = _DEFAULT
    depth: int = 1
    duplicates: bool = False
    inputs: str = ""
    only: str | None = None

    @property
    def name(self) -> str:
        return f"{self.pipeline}/{self.path.stem}"

    @property
    def pipeline(self) -> str:
        """The bundled scenario whose worker-2 is planted."""
        return {"stateful": "stateful", "partition": "partition-writes"}[self.path.parent.name]

    @property
    def planted(self) -> bool:
        return not self.path.stem.startswith(("eq_", "ok_"))

    @property
    def path(self) -> Path:
        return HERE / self.program

    @property
    def description(self) -> str:
        """The first line of the program's text."""
        text = ast.get_docstring(ast.parse(self.path.read_text())) or ""
        return text.partition("\n")[0]

    @property
    def asked(self) -> str:
        """The options of `chaoskit explore` that differ from the default ones."""
        words = [] if self.faults == _DEFAULT else [f"--faults {','.join(self.faults)}"]
        words += [f"--depth {self.depth}"] if self.depth > 1 else []
        words += ["--duplicates"] if self.duplicates else []
        words += [f"--only '{self.only}'"] if self.only else []
        words += ["odd input"] if self.inputs else []
        return " ".join(words)


BUGS = (
    Bug("stateful/s01_ack_before_append.py"),
    Bug("stateful/s02_ack_before_fsync.py"),
    Bug("stateful/s03_no_fsync.py"),
    Bug("stateful/s04_no_dirsync.py"),
    Bug("stateful/s05_dirsync_if_new.py", faults=("kill", "power-loss"), depth=2),
    Bug("stateful/s06_delete_before_publish.py"),
    Bug("stateful/s07_recovery_deletes_ready.py"),
    Bug("stateful/s08_no_tombstone.py", duplicates=True),
    Bug("stateful/s09_tombstone_before_publish.py"),
    Bug("stateful/s11_tombstone_no_dirsync.py"),
    Bug("stateful/s12_no_tail_repair.py", faults=("kill",), depth=2, only="metadata/CLI1.csv"),
    Bug("stateful/s13_header_if_new.py", faults=("kill",), depth=2, only="metadata/CLI1.csv"),
    Bug("stateful/s14_no_dedup.py"),
    Bug("stateful/s15_dedup_at_start_only.py", duplicates=True),
    Bug("stateful/s16_memory_before_append.py", faults=_DISK),
    Bug("stateful/s17_short_write.py"),
    Bug("stateful/s18_enospc_ack.py", faults=_DISK),
    Bug("stateful/s20_poison_requeue.py", inputs="bad_messages.py"),
    Bug("stateful/s21_poison_crash.py", inputs="bad_messages.py"),
    Bug("stateful/s23_recovery_no_fsync.py", faults=("kill", "power-loss"), depth=2),
    Bug("stateful/s24_fsync_error_ignored.py", faults=("eio", "power-loss"), depth=2),
    Bug("stateful/s26_duplicate_acks_at_once.py"),
    Bug("stateful/s28_no_validation.py", inputs="hostile_names.py"),
    Bug("partition/p01_header_if_new.py"),
    Bug("partition/p02_no_intent.py"),
    Bug("partition/p03_pair_per_partition.py"),
    Bug("partition/p06_pair_before_rows.py"),
    Bug("partition/p08_partition_no_fsync.py"),
    Bug("partition/p09_no_dirsync.py"),
    Bug("partition/p10_processed_before_forward.py"),
    Bug("partition/p12_ack_first.py"),
    Bug("partition/p13_ack_before_processed.py"),
    Bug("partition/p14_no_state_repair.py"),
    Bug("partition/p15_short_write.py"),
    Bug("partition/p16_retry_without_undo.py", faults=_DISK),
    Bug("partition/p17_error_swallowed.py", faults=_DISK),
    Bug("partition/p18_poison_requeue.py", inputs="bad_messages.py"),
    Bug("partition/p20_intent_no_fsync.py"),
    Bug("partition/p22_stale_intent.py"),
    Bug("partition/p25_recovery_no_fsync.py", faults=("kill", "power-loss"), depth=2, only="after*:[bs]*[rt]#1"),
    Bug("partition/p26_no_quoting.py"),
    Bug("partition/p29_off_by_one.py"),
    Bug("stateful/eq_rebuild_no_filter.py"),
    Bug("stateful/eq_recovery_ignores_ready.py"),
    Bug("stateful/ok_bad_messages.py", inputs="bad_messages.py"),
    Bug("stateful/ok_hostile_names.py", inputs="hostile_names.py"),
    Bug("partition/eq_intent_replaced.py"),
    Bug("partition/eq_two_writes.py"),
    Bug("partition/ok_bad_messages.py", inputs="bad_messages.py"),
)


def matching(pattern: str) -> tuple[Bug, ...]:
    """The rows whose name holds `pattern`; an empty pattern is in all of them."""
    return tuple(bug for bug in BUGS if pattern in bug.name)
