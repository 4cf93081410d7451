"""Static Go workers in empty images, on Compose: the launcher goes before an entrypoint that has no shell beside it."""

from pathlib import Path

import pytest

from .commands import Chaoskit

# The first build of the image installs a compiler.
pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("engine")]

PLAN = "steps: [{kill: totals, at: {write: ledger.csv, nth: 2, byte: 5}}]\n"


def test_a_kill_inside_a_write_loses_what_was_acknowledged_too_early(chaoskit: Chaoskit, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    run = ("run", "go-worker-compose", "--runtime", "compose", "--plan", "plan.yaml", "--no-control", "--json")
    done = chaoskit(*run)
    assert done.code == 1, done.text
    assert done.points == [("totals/0/write:ledger.csv#2@5", 5)]
    assert {verdict["id"]: verdict["outcome"] for verdict in done.report["verdicts"]} == {
        "ada": "SUCCESS",
        "grace": "MISSING",
    }
    survived = chaoskit.green(*run[:-1], "--set", "ACK=last")
    assert survived.points == done.points
    # The verdict is printed twice, plain and by a logger, and counts once.
    printed = (chaoskit.directory / survived.report["run_dir"] / "logs" / "audit.log").read_text()
    assert printed.count("SUCCESS [ada]") == 2
    assert [verdict["lines"] for verdict in survived.report["verdicts"]] == [1, 1]
