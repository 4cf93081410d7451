"""The planted-bug benchmark: explore finds its bugs, and its negative controls survive.

A few bugs of each kind are met in explorations of one operation or two; the whole catalogue is for `make soak`.
"""

import sys
from pathlib import Path

import pytest

from chaoskit.model.events import Message, Ready

HERE = Path(__file__).parents[2] / "benchmarks" / "bugs"
sys.path.insert(0, str(HERE))

from catalogue import BUGS, Bug, matching  # noqa: E402
from measuring import Explored, busy_s, explored, kills_for, randomly_killed  # noqa: E402
from staging import stage  # noqa: E402
from table import Result, page  # noqa: E402

QUICK = {
    "stateful/s06_delete_before_publish": "kill after *unlink:metadata/CLI1.csv",
    "stateful/s15_dedup_at_start_only": "every message doubled",
    "stateful/s17_short_write": "short-write *write:metadata/CLI1.csv#1",
    "partition-writes/p06_pair_before_rows": "kill inside *write:state/written-partition-chunks.txt#1",
    "partition-writes/p20_intent_no_fsync": "power-loss *write:partitions/TEST-users-partition-000.csv#1",
}


def explore_one(bug: Bug, directory: Path, only: str | None) -> Explored:
    return explored(stage(bug, directory / "scenario"), jobs=2, only=only)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found_at_its_point(name: str, empty: Path) -> None:
    (bug,) = matching(name)
    made = explore_one(bug, empty, QUICK[name])
    assert made.found == "experiment", made
    assert made.rate in ("2 of 3", "3 of 3"), made


def test_a_worker_that_is_as_good_survives_where_a_bug_would_be(empty: Path) -> None:
    (harmless,) = matching("stateful/eq_recovery_ignores_ready")
    made = explore_one(harmless, empty, "kill *unlink:metadata/")
    assert (made.found, made.code) == ("", 0), made
    assert made.experiments > 0


def test_random_kills_fall_into_the_busy_time_and_are_counted(empty: Path) -> None:
    (bug,) = matching("stateful/s01")
    killed = randomly_killed(stage(bug, empty / "scenario"), 6, seed=1, jobs=2, directory=empty / "random")
    assert killed.runs == 6
    assert 0 <= killed.found < 6


def test_random_kills_are_as_many_as_experiments_within_bounds() -> None:
    counts = [kills_for(Explored("experiment", experiments, 999, 1.0)) for experiments in (1, 77, 900)]
    assert counts == [30, 77, 150]


def test_the_busy_time_ends_with_the_last_message() -> None:
    acked = Message(2.5, "worker-3", "acked", "queue-2-3", 1)
    assert busy_s([Ready(0.5), acked, Ready(9.0)]) == 2.0
    assert busy_s([acked]) == 0.0


def test_the_page_counts_what_was_found_and_names_what_was_not() -> None:
    found, missed, control = BUGS[0], BUGS[1], matching("eq_")[0]
    results = [
        Result(found, Explored("experiment", 7, 9, 1.0, "kill | somewhere"), None),
        Result(missed, Explored("", 9, 9, 2.0), None),
        Result(control, Explored("", 9, 9, 2.0), None),
    ]
    assert [result.as_expected for result in results] == [True, False, True]
    text = page(results, seed=1, machine="a quiet machine")
    assert "**1 of 2**" in text
    assert "kill \\| somewhere" in text
    assert "not in 9" in text


def test_every_row_of_the_catalogue_has_a_program_that_says_what_it_does() -> None:
    programs = {path for folder in ("stateful", "partition") for path in (HERE / folder).glob("*.py")}
    assert {bug.path for bug in BUGS} == programs
    assert all(bug.description.endswith(".") for bug in BUGS)
    assert len([bug for bug in BUGS if bug.planted]) >= 24


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_whole_catalogue_is_as_it_should_be(bug: Bug, empty: Path) -> None:
    made = explore_one(bug, empty, None)
    assert Result(bug, made, None).as_expected, made
