"""Ten thousand experiments on the correct workers: not one false alarm. Takes half an hour on two cores."""

from pathlib import Path

import pytest

from chaoskit import bundled
from chaoskit.engine import explore
from chaoskit.model.run import Report
from chaoskit.planning.experiments import FAULTS

WISHES: list[tuple[str, dict[str, int], tuple[str, ...], int, bool]] = [
    ("stateful", {}, ("kill", "power-loss", "short-write"), 2, False),
    ("partition-writes", {}, ("kill",), 2, False),
    ("stateful", {"NUM_CHUNKS": 3, "EXPECTED_CHUNKS": 3}, ("kill",), 2, False),
    ("stateful", {}, FAULTS, 1, True),
    ("partition-writes", {}, FAULTS, 1, True),
]
EXPERIMENTS = 10_000


class Said(explore.Watcher):
    """Prints what is not green at once: a soak is watched."""

    def done(self, record: object, tally: explore.Tally, found: int) -> None:
        made = len(tally.seconds)
        if made % 250 == 0:
            print(f"  {made} of {found} made, {tally.survived} survived", flush=True)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_ten_thousand_experiments_without_a_false_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reports: list[Report] = []
    made = 0
    for name, parameters, faults, depth, duplicates in WISHES:
        found = bundled.find(name)
        scenario = found.with_parameters({**found.explore, **parameters})
        report = explore.explore(explore.Wish(scenario, faults, depth, duplicates), Said())
        assert report.points is not None
        made += report.points.run
        print(
            f"{name}, {', '.join(faults)}, depth {depth}, doubled {duplicates}: {report.points}, {report.duration_s} s"
        )
        reports.append(report)
    bad = [(f.plan, f.rate, f.verdicts) for r in reports for f in r.failures]
    assert bad == []
    assert [r.exit_code for r in reports] == [0] * len(reports), [r.findings for r in reports]
    assert made >= EXPERIMENTS
