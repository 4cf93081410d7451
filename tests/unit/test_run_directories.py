"""Run directories: what is the latest, and that a dry run is never that."""

import datetime
from pathlib import Path

import pytest

from chaoskit.engine import rundir
from chaoskit.model.errors import UsageError

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LATER = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_latest_run_of_a_scenario_is_not_that_of_one_whose_name_goes_on() -> None:
    mine = rundir.create("explore-stateful", 0, NOW)
    rundir.create("explore-stateful-durable", 0, LATER)
    assert rundir.latest_of("explore-stateful") == mine
    again = rundir.create("explore-stateful", 0, NOW)
    assert rundir.latest_of("explore-stateful") == again


def test_a_dry_run_is_found_neither_while_it_goes_on_nor_afterwards() -> None:
    real = rundir.create("stateful", 1, NOW)
    with rundir.dry_run():
        dry = rundir.create("stateful", 1, LATER)
        assert dry.path.is_dir()
        assert rundir.latest() == rundir.latest_of("stateful") == real
    assert not dry.path.exists()
    assert rundir.create("stateful", 2, LATER) == rundir.latest()


def test_a_dry_run_that_fails_is_kept_but_is_not_the_latest() -> None:
    with pytest.raises(UsageError, match="not green"), rundir.dry_run():
        dry = rundir.create("stateful", 1, NOW)
        raise UsageError("not green")
    assert dry.path.is_dir()
    for look in (rundir.latest, lambda: rundir.latest_of("stateful")):
        with pytest.raises(UsageError, match="there is no run"):
            look()


def test_a_dry_run_that_is_interrupted_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), rundir.dry_run():
        dry = rundir.create("stateful", 1, NOW)
        raise KeyboardInterrupt
    assert not dry.path.exists()
