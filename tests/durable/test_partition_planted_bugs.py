"""The experiments of test_partition_crashes must find each planted bug: what nothing can fail proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.durable.errors import CorruptFileError

from .partition_bugs import BUGS, FOUND_BY
from .partition_pipeline import make_manager
from .test_partition_crashes import EXPERIMENTS, Lab


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = BUGS[name](monkeypatch)
    lab = Lab(tmp_path, lambda machine: make_manager(machine, kind))
    assert first_failure(lab, FOUND_BY.get(name, "kill")), f"no experiment finds: {name}"


def first_failure(lab: Lab, experiments: str) -> object:
    """Return what failed first, a run without faults and a manager that gives up on its own files included."""
    try:
        return next((failure for failure in EXPERIMENTS[experiments](lab) if failure[1]), None)
    except (AssertionError, CorruptFileError) as error:
        return repr(error)


def test_the_verdict_notices_a_row_that_was_taken_away(tmp_path: Path) -> None:
    pipeline = Lab(tmp_path).pipeline()
    pipeline.run()
    path = next(pipeline.machine.root.glob("data/partitions/*.csv"))
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert any("less" in complaint for complaint in pipeline.verdict())
