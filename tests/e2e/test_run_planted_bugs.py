"""Planted bugs are red and named; the correct worker is green under the very same plan."""

from pathlib import Path
from typing import Any

import pytest

BUGS = {
    "acknowledges-first": "{kill: worker-2, at: {write: metadata/CLI1.csv, nth: 2, when: before}}",
    "no-duplicate-detection": "{duplicate: queue-1-2, at: {message: 1}}",
    "forgets-ready-clients": "{kill: worker-2, at: {write: metadata/CLI1.csv, nth: 3, when: after}}",
    "no-torn-tail-repair": "{kill: worker-2, at: {write: metadata/CLI1.csv, nth: 2, byte: 16}}",
}
OUTCOMES = {
    "acknowledges-first": "MISSING",
    "no-duplicate-detection": "FAILURE",
    "forgets-ready-clients": "MISSING",
    "no-torn-tail-repair": "FAILURE",
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_red_and_the_client_is_named(run: Any, planted: Path, bug: str) -> None:
    ran = run(planted / bug, plan=f"steps: [{BUGS[bug]}]")
    assert ran.report.control is not None
    assert ran.report.control.result == "pass", "without the fault the bug must not show"
    assert ran.report.exit_code == 1, ran.report
    assert ran.outcomes == {"CLI1": OUTCOMES[bug], "CLI2": "SUCCESS"}
    assert [fault.fired for fault in ran.report.faults] == [True]


@pytest.mark.parametrize("bug", BUGS)
def test_the_correct_worker_is_green_under_the_same_plan(run: Any, bug: str) -> None:
    ran = run("stateful", plan=f"steps: [{BUGS[bug]}]")
    assert ran.report.exit_code == 0, ran.report
    assert ran.outcomes == {"CLI1": "SUCCESS", "CLI2": "SUCCESS"}
    assert [fault.fired for fault in ran.report.faults] == [True]
