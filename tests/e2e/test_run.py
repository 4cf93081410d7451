"""`chaoskit run` on the bundled stateful scenario: green where it has to be, and every fault exact and fired."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

from chaoskit.model import plan as plans
from chaoskit.model.events import Call, Flag, Message

CLIENTS = {"CLI1": "SUCCESS", "CLI2": "SUCCESS"}


def is_green(ran: Any, faults: int) -> bool:
    fired = [fault.fired and fault.exact for fault in ran.report.faults]
    return bool(ran.report.exit_code == 0 and ran.outcomes == CLIENTS and fired == [True] * faults)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_three_kills_are_survived_and_fall_on_a_write_or_beside_one(run: Any, seed: int) -> None:
    ran = run(seed=seed, kills=3)
    assert is_green(ran, 3), ran.report
    assert ran.report.restarts == {"worker-2": 3}
    assert ran.report.control.crash_points > 20
    for fault in ran.report.faults:
        assert fault.restarted_after_s is not None
        assert fault.restarted_after_s < 5


@pytest.mark.parametrize("seed", [11, 12])
def test_kills_and_duplicates_together_are_survived(run: Any, seed: int) -> None:
    ran = run(seed=seed, kills=3, duplicates=2)
    assert is_green(ran, 5), ran.report
    assert sum(1 for e in ran.events if isinstance(e, Message) and e.injected and e.kind == "published") == 2


def test_no_kill_at_all_is_green_and_needs_no_control_run(run: Any) -> None:
    ran = run(kills=0)
    assert is_green(ran, 0), ran.report
    assert ran.report.control is None


def test_twenty_kills_of_a_longer_pipeline_are_survived(run: Any) -> None:
    ran = run(seed=7, kills=20, parameters={"NUM_CHUNKS": 50, "EXPECTED_CHUNKS": 50})
    assert is_green(ran, 20), ran.report
    assert ran.report.restarts == {"worker-2": 20}


def test_chunks_that_never_come_are_missing_and_the_wait_is_named(run: Any) -> None:
    ran = run(parameters={"EXPECTED_CHUNKS": 4})
    assert ran.report.exit_code == 1
    assert ran.outcomes == {"CLI1": "MISSING", "CLI2": "MISSING"}
    (text,) = ran.findings("run-ended")
    assert "verdicts for CLI1, CLI2" in text
    assert "waited " in text
    assert float(text.split("waited ")[1].split(" s")[0]) >= 2


def test_the_same_seed_gives_the_same_plan_and_another_seed_another(run: Any) -> None:
    first, again, other = (run(seed=seed, kills=3, duplicates=1).plan for seed in (5, 5, 6))
    assert first == again
    assert first.steps != other.steps


def test_the_run_directory_holds_what_the_contract_says(run: Any, empty: Path) -> None:
    ran = run(seed=9, kills=1)
    assert (empty / ".chaoskit" / "latest").resolve() == ran.path
    for name in ("plan.yaml", "journal.jsonl", "logs/worker-2.log", "data/worker-2", "report.json"):
        assert (ran.path / name).exists(), name
    assert "Processing chunk 1 for client CLI1" in (ran.path / "logs" / "worker-2.log").read_text()
    assert not (ran.path / "control" / "data").exists()
    assert json.loads((ran.path / "report.json").read_text())["seed"] == 9
    saved = plans.parse(plans.sources.read(ran.path / "plan.yaml"), frozenset({"kill"}))
    assert (saved.seed, saved.steps) == (ran.plan.seed, ran.plan.steps)


def test_a_tear_leaves_exactly_the_bytes_that_were_asked_for(run: Any) -> None:
    ran = run(plan="steps: [{kill: worker-2, at: {write: metadata/CLI1.csv, nth: 2, byte: 7}}]")
    assert is_green(ran, 1), ran.report
    (fired,) = ran.fired
    whole = b"msg_id,chunk_number,value\nCLI100000001,1,10\n"
    assert fired.written_bytes == 7
    assert fired.tail == whole + b"CLI1000"
    assert fired.file_bytes == len(whole) + 7
    assert ran.report.faults[0].trigger == "worker-2/0/write:metadata/CLI1.csv#2@7"


def test_a_tear_without_a_restart_is_what_the_file_still_holds(run: Any) -> None:
    step = "{kill: worker-2, at: {write: metadata/CLI1.csv, nth: 2, byte: 7}, restart: false}"
    ran = run(plan=f"steps: [{step}]")
    content = (ran.path / "data" / "worker-2" / "metadata" / "CLI1.csv").read_bytes()
    assert content == b"msg_id,chunk_number,value\nCLI100000001,1,10\nCLI1000"
    assert ran.report.exit_code == 1
    assert ran.report.restarts == {}
    assert ran.outcomes["CLI1"] == "MISSING"


@pytest.mark.parametrize(
    ("when", "rows"), [("before", b""), ("after", b"msg_id,chunk_number,value\nCLI100000001,1,10\n")]
)
def test_before_and_after_a_write_mean_nothing_and_all_of_it(run: Any, when: str, rows: bytes) -> None:
    step = f"{{kill: worker-2, at: {{write: metadata/CLI1.csv, when: {when}}}, restart: false}}"
    ran = run(plan=f"steps: [{step}]", control=False)
    assert (ran.path / "data" / "worker-2" / "metadata" / "CLI1.csv").read_bytes() == rows


EVERY_KIND = """
seed: 3
steps:
  - {kill: worker-2, at: {write: metadata/CLI1.csv, nth: 1, byte: middle}}
  - {kill: worker-2, at: {fsync: "metadata/*.csv", nth: 1, when: before, life: 1}}
  - {kill: worker-2, at: {send: broker, nth: 9, life: 2}}
  - {kill: worker-2, at: {create: metadata/done/CLI1, when: after}}
  - {kill: worker-2, at: {unlink: metadata/CLI2.csv, when: before}}
  - {kill: worker-2, at: {log: "Processing chunk 2 for client CLI2", nth: 1}}
  - {kill: worker-2, at: {delivered: queue-1-2, nth: 2}}
  - {kill: worker-2, at: {acked: queue-1-2, nth: 1}}
  - {duplicate: queue-1-2, at: {message: 2}}
  - {duplicate: queue-1-2, at: {published: queue-1-2, nth: 4}, copies: 2, late: true}
  - {delay: queue-1-2, at: {message: 3}, for_s: 0.1}
  - {stop: worker-2, at: {log: "Processing chunk 1 for client CLI2"}}
  - {cut: worker-3, at: {time_s: 0.3}}
  - {pause: worker-3, at: {time_s: 0.2}, for_s: 0.1}
"""


def test_every_kind_of_trigger_and_fault_in_one_plan(run: Any) -> None:
    ran = run(plan=EVERY_KIND)
    assert ran.outcomes == CLIENTS
    never = [f"{f.fault} {f.trigger}: {f.note}" for f in ran.report.faults if not f.fired]
    assert never == []
    assert ran.report.exit_code == 0
    assert [fault.exact for fault in ran.report.faults] == [True] * 12 + [False] * 2


def test_a_program_that_is_no_target_can_be_hurt_at_a_call_too(run: Any) -> None:
    ran = run(plan="steps: [{kill: worker-3, at: {send: broker, nth: 3}}]")
    assert is_green(ran, 1), ran.report
    assert ran.report.restarts == {"worker-3": 1}


def test_a_point_that_never_occurs_is_inconclusive_and_named(run: Any) -> None:
    ran = run(plan="steps: [{kill: worker-2, at: {write: metadata/CLI9.csv}}]")
    assert ran.report.exit_code == 4
    assert ran.report.result == "inconclusive"
    assert ran.outcomes == CLIENTS
    assert any(
        "never fired: kill worker-2 at before write:metadata/CLI9.csv#1" in t for t in ran.findings("faults-fired")
    )


def test_what_the_tap_cannot_see_is_flagged_not_hidden(run: Any) -> None:
    ran = run()
    assert any(isinstance(event, Call) for event in ran.events)
    assert not [event for event in ran.events if isinstance(event, Flag)]


def test_json_is_the_only_thing_on_stdout(chaoskit: Any) -> None:
    done = chaoskit("run", "stateful", "--kills", "2", "--seed", "8", "--json")
    assert done.code == 0, done.err
    assert done.report["result"] == "pass"
    assert done.report["seed"] == 8
    assert len(done.report["faults"]) == 2
    assert "PASS" in done.err


def test_the_first_and_the_last_line_name_the_seed_and_the_report(chaoskit: Any, empty: Path) -> None:
    done = chaoskit("run", "stateful", "--kills", "1", "--seed", "77", "--junit", "out/j.xml", "--summary", "s.md")
    assert done.code == 0, done.text
    lines = done.out.splitlines()
    assert "seed 77" in lines[0]
    assert "seed 77" in lines[-1]
    assert (empty / lines[-1].split("report ")[1].split(",")[0]).is_file()
    assert "\x1b" not in done.out
    assert JUnitXml.fromfile(str(empty / "out" / "j.xml")).tests == 2
    assert (empty / "s.md").read_text().startswith("## ✅ chaoskit stateful: pass")


def test_a_dry_run_prints_the_plan_that_the_run_then_carries_out(chaoskit: Any, empty: Path) -> None:
    dry = chaoskit("run", "stateful", "--kills", "3", "--seed", "4", "--dry-run")
    assert dry.code == 0, dry.text
    assert yaml.safe_load(dry.out)["seed"] == 4
    (empty / "plan.yaml").write_text(dry.out)
    done = chaoskit("run", "stateful", "--plan", "plan.yaml", "--json")
    assert done.code == 0, done.text
    latest = empty / ".chaoskit" / "latest"
    assert yaml.safe_load((latest / "plan.yaml").read_text()) == yaml.safe_load(dry.out)
    assert done.report["seed"] == 4


def test_a_dry_run_is_no_latest_run_and_leaves_nothing(chaoskit: Any, empty: Path) -> None:
    assert not chaoskit("run", "json-file", "--kills", "1", "--dry-run").code
    assert list((empty / ".chaoskit").iterdir()) == [empty / ".chaoskit" / "runs"]
    done = chaoskit("run", "json-file", "--kills", "1", "--seed", "6", "--json")
    assert not chaoskit("run", "json-file", "--kills", "1", "--dry-run").code
    assert (empty / ".chaoskit" / "latest").resolve() == (empty / done.report["run_dir"]).resolve()
    assert len(list((empty / ".chaoskit" / "runs").iterdir())) == 1


def test_a_dry_run_that_fails_is_kept_and_named(chaoskit: Any, empty: Path) -> None:
    done = chaoskit("run", "stateful", "--kills", "1", "--set", "EXPECTED_CHUNKS=4", "--dry-run")
    assert done.code == 2
    (kept,) = (empty / ".chaoskit" / "runs").iterdir()
    assert f"the control run is not green, so there is no plan: chaoskit report .chaoskit/runs/{kept.name}" in done.err
    assert not (empty / ".chaoskit" / "latest").exists()


# Of json-file, seed 5 fails and seed 6 passes.
RED_THEN_GREEN = ("run", "json-file", "--kills", "1", "--seed", "5", "--repeat", "2")


def test_repeated_runs_have_a_suite_a_folder_and_an_element_of_the_array_each(chaoskit: Any, empty: Path) -> None:
    more = ("--junit", "j.xml", "--summary", "s.md", "--report-dir", "kept", "--json")
    done = chaoskit(*RED_THEN_GREEN, *more)
    assert done.code == 1, done.text
    assert [(r["seed"], r["result"]) for r in json.loads(done.out)] == [(5, "fail"), (6, "pass")]
    red, green = JUnitXml.fromfile(str(empty / "j.xml"))
    assert (red.name, green.name) == ("chaoskit json-file, seed 5", "chaoskit json-file, seed 6")
    assert red.failures > 0 and green.failures == 0
    for seed, result in ((5, "fail"), (6, "pass")):
        kept = empty / "kept" / f"seed-{seed}"
        assert json.loads((kept / "report.json").read_text())["result"] == result
        assert (kept / "journal.jsonl").is_file() and (kept / "junit.xml").is_file()
    assert (empty / "s.md").read_text().count("## ") == 2


def test_one_run_has_one_object_and_no_folder_of_its_own(chaoskit: Any, empty: Path) -> None:
    done = chaoskit(*RED_THEN_GREEN[:-1], "1", "--json", "--junit", "j.xml", "--report-dir", "kept")
    assert done.code == 1 and done.report["seed"] == 5
    assert (empty / "kept" / "report.json").is_file()
    (suite,) = JUnitXml.fromfile(str(empty / "j.xml"))
    assert suite.name == "chaoskit json-file"


def test_a_file_that_cannot_be_written_keeps_no_seed_from_being_run(chaoskit: Any) -> None:
    done = chaoskit(*RED_THEN_GREEN, "--junit", "/dev/full", "--summary", "/dev/full")
    assert done.code == 1, done.text
    assert "1 of 2 runs passed, seeds 5 to 6" in done.out
    assert done.err.count("/dev/full: the summary cannot be written") == 2
    assert done.err.count("/dev/full: the report cannot be written") == 1


def test_a_plan_that_is_repeated_has_the_seed_of_each_run(chaoskit: Any, empty: Path) -> None:
    (empty / "plan.yaml").write_text("seed: 7\nsteps: [{kill: notes, at: {log: never}}]\n")
    done = chaoskit("run", "json-file", "--plan", "plan.yaml", "--repeat", "2", "--report-dir", "kept", "--json")
    assert done.code == 4, done.text
    assert [report["seed"] for report in json.loads(done.out)] == [7, 8]
    assert {path.name for path in (empty / "kept").iterdir()} == {"seed-7", "seed-8"}


def test_repeat_runs_with_one_seed_after_the_other(chaoskit: Any) -> None:
    done = chaoskit("run", "stateful", "--kills", "1", "--seed", "30", "--repeat", "3")
    assert done.code == 0, done.text
    assert "3 of 3 runs passed, seeds 30 to 32" in done.out


def test_a_saved_run_can_be_drawn_judged_and_replayed(chaoskit: Any, empty: Path) -> None:
    first = chaoskit("run", "stateful", "--kills", "2", "--seed", "6", "--json")
    saved = first.report["run_dir"]
    assert chaoskit("report", saved, "--json").report == first.report
    (empty / saved / "report.json").unlink()
    assert chaoskit("report", saved).code == 2
    judged = chaoskit("judge", saved, "--json")
    assert (judged.code, judged.report) == (0, first.report)
    replayed = chaoskit(*first.report["replay"].split()[1:], "--json")
    assert replayed.code == 0
    triggers = [[fault["trigger"] for fault in done.report["faults"]] for done in (first, replayed)]
    assert triggers[0] == triggers[1]


def test_a_red_run_ends_with_a_command_that_carries_it_out_again(chaoskit: Any) -> None:
    done = chaoskit("run", "stateful", "--set", "EXPECTED_CHUNKS=4", "--seed", "3")
    assert done.code == 1
    assert "MISSING" in done.out
    assert "last lines of worker-2" in done.out
    (again,) = [line.removeprefix("again: ") for line in done.out.splitlines() if line.startswith("again: ")]
    assert chaoskit(*again.split()[1:]).code == 1


def test_a_report_directory_gets_everything(chaoskit: Any, empty: Path) -> None:
    assert chaoskit("run", "stateful", "--kills", "1", "--report-dir", "kept").code == 0
    names = {path.name for path in (empty / "kept").iterdir()}
    assert names >= {"report.json", "junit.xml", "summary.md", "plan.yaml", "journal.jsonl", "logs"}


def test_descriptors_do_not_pile_up_from_run_to_run(run: Any) -> None:
    counts = []
    for seed in range(4):
        run(seed=seed, kills=2)
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[-1] <= counts[1]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_seeds_of_kills_and_duplicates_are_green(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bad, seconds = [], []
    for seed in range(200):
        ran = run(seed=seed, kills=3, duplicates=2)
        seconds.append(ran.report.duration_s)
        steps = ran.plan.steps
        # Two copies of one message are one step.
        copies = sum(int(step.options.get("copies", 1)) for step in steps if step.fault == "duplicate")
        kills = sum(step.fault == "kill" for step in steps)
        if not is_green(ran, len(steps)) or (kills, copies) != (3, 2):
            bad.append((seed, ran.report.result, ran.report.findings))
    with capsys.disabled():
        print(f"\n200 seeds: {200 - len(bad)} green, median {sorted(seconds)[100]:.2f} s, longest {max(seconds):.2f} s")
    assert bad == []
