"""Programs without a broker, a command that judges them, several targets, faults that recur: as a user sees them."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from chaoskit import bundled, journal
from chaoskit.model.events import FaultFired, ProgramStarted

WRITER = """\
import os, pathlib, sys
path = pathlib.Path(sys.argv[1])
have = path.read_text().splitlines() if path.exists() else []
for n in range(len(have), int(os.environ["LINES"])):
    with path.open("a") as file:
        file.write(f"line {n + 1} of many\\n")
    print("wrote", n + 1)
"""
CHECK = """\
import os, pathlib, sys
want = "".join(f"line {n + 1} of many\\n" for n in range(int(os.environ["LINES"])))
sys.exit(0 if all(pathlib.Path(p).read_text() == want for p in sys.argv[1:]) else "not what was to be written")
"""
SCENARIO = """\
name: lines
parameters: {LINES: 3}
programs:
  writer: {command: [python, writer.py, "{data}/out.txt"]}
target: writer
verifier: {command: [python, check.py, "{data}/out.txt"]}
broker: false
timeout_s: 20
"""


def lone(folder: Path, *changes: tuple[str, str]) -> str:
    """A scenario of one program that appends lines, and cannot cope with a torn one."""
    folder.mkdir(exist_ok=True)
    (folder / "writer.py").write_text(WRITER)
    (folder / "check.py").write_text(CHECK)
    text = SCENARIO
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "scenario.yaml").write_text(text)
    return str(folder)


def lives(run_dir: Path) -> list[int]:
    events = journal.read(run_dir / "journal.jsonl")
    return [e.life for e in events if isinstance(e, ProgramStarted) and e.program != "verifier"]


# --- run, replay, explore, shrink ---


def test_a_program_that_is_killed_starts_again_and_is_judged_when_it_has_ended(run: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines")
    ran = run(folder, plan="steps: [{kill: writer, at: {write: out.txt, nth: 2, when: after}}]")
    assert ran.report.exit_code == 0, ran.report
    assert ran.outcomes == {"lines": "SUCCESS"}
    assert lives(ran.path) == [0, 1]
    assert ran.report.control.crash_points == 4, "a create, and a write for each line"


@pytest.mark.parametrize(
    ("fault", "byte", "fires"), [("kill", 15, True), ("kill", 16, False), ("short-write", 15, False)]
)
def test_a_byte_beyond_the_end_of_a_write_never_fires_and_says_why(
    run: Any, tmp_path: Path, fault: str, byte: int, fires: bool
) -> None:
    ran = run(lone(tmp_path / "lines"), plan=f"steps: [{{{fault}: writer, at: {{write: out.txt, byte: {byte}}}}}]")
    assert ran.report.exit_code == (0 if fires else 4), ran.report
    assert ran.report.faults[0].fired == fires
    if not fires:
        assert "that write has only 15 bytes" in ran.report.faults[0].note


def test_a_run_that_passed_is_not_shrunk_and_is_said_to_have_passed(run: Any, chaoskit: Any, tmp_path: Path) -> None:
    ran = run(lone(tmp_path / "lines"))
    done = chaoskit("shrink", str(ran.path))
    assert done.code == 2 and f"{ran.path.name} passed: only a run with" in done.err, done.text
    assert "fails without any" not in done.text


def test_a_torn_write_is_found_shown_replayed_and_shrunk(chaoskit: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines")
    done = chaoskit("explore", folder, "--faults", "kill", "--only", "inside*#2*", "--json")
    assert done.code == 1, done.text
    assert len(done.report["failures"]) == 3, "at the first byte, in the middle, at the last but one"
    first = min(done.report["failures"], key=lambda failure: len(failure["plan"][0]))
    assert first["plan"][0] in {f"kill writer at inside write:out.txt#2@{byte} of life 0" for byte in (1, 7)}
    assert first["verdicts"][0]["detail"] == "not what was to be written (exit code 1)"
    again = chaoskit(*shlex.split(first["replay"])[1:])
    assert again.code == 1 and "bytes written" in again.out
    shrunk = chaoskit("shrink", shlex.split(first["replay"])[-1])
    assert shrunk.code == 0 and "kill: writer" in shrunk.out, shrunk.text


# --- the verifier ---


@pytest.mark.parametrize(
    ("command", "code", "outcome", "words"),
    [
        ("[sh, -c, 'echo fine']", 0, "SUCCESS", "fine"),
        ("[sh, -c, 'echo row 3 is gone; exit 7']", 1, "FAILURE", "row 3 is gone (exit code 7)"),
        ("[sh, -c, 'kill -SEGV $$']", 1, "FAILURE", "killed by SIGSEGV"),
        ("[sh, -c, 'no-such-program']", 1, "FAILURE", "(exit code 127)"),
        ("[python, -c, 'import os; os.abort()']", 1, "FAILURE", "killed by SIGABRT"),
    ],
)
def test_the_end_of_the_command_is_the_verdict(
    run: Any, tmp_path: Path, command: str, code: int, outcome: str, words: str
) -> None:
    ran = run(lone(tmp_path / "lines", ('[python, check.py, "{data}/out.txt"]', command)))
    assert ran.report.exit_code == code
    assert ran.outcomes == {"lines": outcome}
    assert words in ran.report.verdicts[0].detail


def test_a_command_that_cannot_be_started_is_an_error(chaoskit: Any, tmp_path: Path) -> None:
    done = chaoskit("run", lone(tmp_path / "lines", ("[python, check.py,", "[./no-such-check,")))
    assert done.code == 3
    assert "verifier: the command './no-such-check' is not found" in done.text


def test_a_command_that_never_ends_is_given_up_and_not_green(chaoskit: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines", ('[python, check.py, "{data}/out.txt"]', "[sleep, '1000']"), ("20", "1"))
    done = chaoskit("run", folder)
    assert done.code == 1 and "the time limit was reached" in done.text
    assert "waited 1.0 s for verdicts for lines; verifier to end" in done.text


def test_a_command_may_judge_by_its_lines(run: Any, tmp_path: Path) -> None:
    judge = "[sh, -c, 'echo all is well']"
    change = ('{command: [python, check.py, "{data}/out.txt"]}', f"{{command: {judge}, success: all is well}}")
    assert run(lone(tmp_path / "lines", change)).outcomes == {"lines": "SUCCESS"}
    change = (change[0], change[1].replace("success: all is well", "success: all is fine"))
    ran = run(lone(tmp_path / "lines", change))
    assert ran.report.exit_code == 1
    assert any("none of the 1 lines of verifier matches" in text for text in ran.findings("verifier"))


def test_a_command_finds_data_logs_and_parameters(run: Any, tmp_path: Path) -> None:
    verifier = """verifier:
  command: [sh, seen.sh, "{data}", "{logs}", "{LINES}", "{{data}}", "{a b}"]
  environment: {X: "{LINES}-{{X}}"}
"""
    folder = lone(tmp_path / "lines", ('verifier: {command: [python, check.py, "{data}/out.txt"]}\n', verifier))
    (tmp_path / "lines" / "seen.sh").write_text(
        'test "$WORKER_DATA_DIR|$CHAOSKIT_LOGS|$LINES|{data}|{a b}" = "$1|$2|$3|$4|$5" && test "$X" = "3-{X}" &&\n'
        'grep -q "wrote $LINES" "$2/writer.log" && test -f "$1/out.txt"\n'
    )
    ran = run(folder)
    assert ran.outcomes == {"lines": "SUCCESS"}, ran.report


def test_a_program_that_cannot_go_on_is_given_up_soon_and_the_files_are_judged(run: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines")
    (tmp_path / "lines" / "writer.py").write_text(WRITER + "sys.exit(3 if len(have) else 0)\n")
    ran = run(folder, plan="steps: [{kill: writer, at: {write: out.txt, nth: 2, when: before}}]")
    assert ran.report.exit_code == 1
    assert ran.report.restarts == {"writer": 4}, "one after the kill, three of its own"
    assert ran.outcomes == {"lines": "SUCCESS"}, "the command was asked all the same"
    assert "dies again and again" in ran.findings("run-ended")[0]


def test_without_a_restart_the_files_are_judged_as_the_kill_left_them(run: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines", ("broker: false", "broker: false\nrestart: none"))
    ran = run(folder, plan="steps: [{kill: writer, at: {write: out.txt, nth: 3, when: after}}]")
    assert ran.report.exit_code == 0 and lives(ran.path) == [0]
    ran = run(folder, plan="steps: [{kill: writer, at: {write: out.txt, nth: 2, byte: 3}}]")
    assert ran.report.exit_code == 1 and lives(ran.path) == [0]
    assert (ran.path / "data" / "writer" / "out.txt").read_text() == "line 1 of many\nlin"


def test_without_a_restart_each_target_can_be_killed_once(chaoskit: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines", ("broker: false", "broker: false\nrestart: none"))
    done = chaoskit("run", folder, "--kills", "2")
    assert done.code == 2 and "each of writer can be killed once" in done.err


def test_without_a_restart_a_power_loss_has_taken_its_part_before_the_command_looks(run: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines", ("broker: false", "broker: false\nrestart: none"))
    ran = run(folder, plan="steps: [{power-loss: writer, at: {write: out.txt, nth: 3, when: after}, state: dirs}]")
    assert ran.report.exit_code == 1, "nothing was synced, so nothing is there"
    assert (ran.path / "data" / "writer" / "out.txt").read_bytes() == b""


def test_a_step_that_cannot_come_any_more_ends_the_run_at_once_and_is_inconclusive(run: Any, tmp_path: Path) -> None:
    ran = run(lone(tmp_path / "lines"), plan="steps: [{kill: writer, at: {rename: nothing}}]")
    assert ran.report.exit_code == 4 and ran.outcomes == {"lines": "SUCCESS"}
    assert ran.report.duration_s < 2


def test_a_server_that_stays_up_is_not_waited_for(run: Any, tmp_path: Path) -> None:
    server = '  server: {command: [sh, -c, "echo up; exec sleep 1000"], stays_up: true}\ntarget: writer'
    ran = run(lone(tmp_path / "lines", ("target: writer", server)))
    assert ran.report.exit_code == 0 and ran.report.duration_s < 5


def test_up_by_hand_judges_when_it_is_asked_to(chaoskit: Any, until: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines")
    assert chaoskit("up", "-d", folder).code == 0
    try:
        rows = {row["program"]: row for row in json.loads(chaoskit("ps", "--json").out)["programs"]}
        assert rows["verifier"]["state"] == "waiting"
        assert chaoskit("restart", "verifier").code == 0

        def judged() -> bool:
            found = json.loads(chaoskit("ps", "--json").out)["programs"]
            return any(row["program"] == "verifier" and row["exit_code"] == 0 for row in found)

        assert until(judged)
    finally:
        assert chaoskit("down").code == 0


# --- several targets, and faults that recur ---

TWO = """\
  other: {command: [python, writer.py, "{data}/out.txt"], labels: {kind: writing}}
  writer: {labels: {kind: writing}, """


def two(folder: Path, target: str) -> str:
    return lone(folder, ("  writer: {", TWO), ("target: writer", f"target: {target}"))


@pytest.mark.parametrize("target", ["[writer, other]", '"*"', '"label:kind=writing"', '"w*,o*"'])
def test_kills_are_dealt_out_to_targets_by_list_glob_and_label(run: Any, tmp_path: Path, target: str) -> None:
    folder = two(tmp_path / "lines", target)
    from chaoskit.engine import run as engine

    report = engine.run(engine.Request(bundled.find(folder), 1, kills=4, each=True), engine.Watcher())
    assert sorted(f.target for f in report.faults if f.fired) == ["other", "other", "writer", "writer"]


def test_explore_visits_the_points_of_each_target(chaoskit: Any, tmp_path: Path) -> None:
    done = chaoskit("explore", two(tmp_path / "lines", '"*"'), "--faults", "kill", "--only", "before*create*", "--json")
    assert done.code == 0, done.text
    assert done.report["points"]["run"] == 2


def test_a_plan_may_hurt_a_program_that_is_no_target(run: Any, tmp_path: Path) -> None:
    folder = two(tmp_path / "lines", "writer")
    ran = run(folder, plan="steps: [{kill: other, at: {write: out.txt, nth: 2, when: before}}]")
    assert ran.report.exit_code == 0
    assert [(f.target, f.fired, f.exact) for f in ran.report.faults] == [("other", True, True)]
    assert ran.report.restarts == {"other": 1}


SLOW = "import time, signal\nsignal.sigtimedwait([signal.SIGUSR2], 0.4)\n"


def slow(folder: Path) -> str:
    """Two programs that take a while and survive any kill at rest: they write whole lines, by a rename of nothing."""
    made = two(folder, '"*"')
    (folder / "writer.py").write_text(SLOW + WRITER)
    return made


def test_kills_at_intervals_are_listed_and_the_same_for_the_same_seed(chaoskit: Any, tmp_path: Path) -> None:
    arguments = ("run", slow(tmp_path / "lines"), "--kill-every", "150ms", "--kill-for", "1s", "--each", "--seed", "7")
    done = chaoskit(*arguments, "--json")
    assert done.code == 0, done.text
    faults = done.report["faults"]
    assert [f["target"] for f in faults[:3]] == ["other", "writer", "other"]
    assert all(f["fired"] and not f["exact"] and f["note"].startswith("intervals of 0.15 s") for f in faults)
    events = journal.read(Path(done.report["run_dir"]) / "journal.jsonl")
    assert [e.target for e in events if isinstance(e, FaultFired)] == [f["target"] for f in faults]
    again = chaoskit(*shlex.split(done.report["replay"])[1:])
    assert again.code == 0 and "0.150 s after the pipeline is ready" in again.out


def test_kills_at_random_moments_that_never_come_are_inconclusive(chaoskit: Any, tmp_path: Path) -> None:
    done = chaoskit("run", lone(tmp_path / "lines"), "--kill-mean", "10h", "--seed", "1")
    assert done.code == 4
    assert "never fired: kill writer at random moments, 36000 s apart on average" in done.text
    assert "shorten the time between" in done.text


# --- errors that say what to change ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--kill-every", "soon"), "--kill-every: 'soon' is not a duration"),
        (("run", "--kill-every", "5s", "--kill-mean", "5s"), "--kill-mean: names two triggers"),
        (("run", "--kill-mean", "5s", "--probability", "0.5"), "--probability: is unknown here"),
        (("run", "--probability", "0.5"), "goes with --kill-every"),
        (("run", "--kill-for", "5s"), "goes with --kill-every"),
        (("run", "--duplicates", "1"), "no message to the target"),
        (("explore", "--duplicates"), "has no broker"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(
    chaoskit: Any, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = chaoskit(arguments[0], lone(tmp_path / "lines"), *arguments[1:])
    assert done.code == 2 and words in done.err, done.text
    assert done.err.count("\n") == 1 or arguments[0] == "run"


@pytest.mark.parametrize(
    "step",
    [
        "{kill: writer, at: {delivered: queue}}",
        "{kill: writer, at: {send: broker}}",
        "{cut: writer, at: {time_s: 1}}",
        "{duplicate: queue, at: {message: 1}}",
        "{kill: verifier, at: {time_s: 1}}",
    ],
)
def test_a_plan_cannot_name_what_is_not_there(chaoskit: Any, tmp_path: Path, step: str) -> None:
    (tmp_path / "plan.yaml").write_text(f"steps: [{step}]")
    done = chaoskit("run", lone(tmp_path / "lines"), "--plan", "plan.yaml")
    assert done.code == 2 and "plan.yaml, line 1" in done.err
    assert "has no broker" in done.err or "it is not hurt" in done.err


def test_a_target_without_a_crash_point_is_named_with_what_to_change(chaoskit: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines", ('[python, writer.py, "{data}/out.txt"]', "[sh, -c, 'echo nothing to do']"))
    (tmp_path / "lines" / "check.py").write_text("")
    done = chaoskit("run", folder, "--kills", "1")
    assert done.code == 2 and "writer made no crash point in the control run" in done.err
    assert "{data} in `command`" in done.err
    done = chaoskit("explore", folder)
    assert done.code == 4 and "writer made no crash point" in done.out
    assert "no point matches" in chaoskit("explore", lone(tmp_path / "other"), "--only", "nothing*").out


def test_a_supervisor_of_the_user_is_not_for_the_local_runtime(chaoskit: Any, tmp_path: Path) -> None:
    folder = lone(tmp_path / "lines", ("broker: false", "broker: false\nrestart: engine"))
    for command in ("run", "explore"):
        done = chaoskit(command, folder)
        assert done.code == 2 and "`restart: engine` needs containers" in done.text


def test_a_verifier_that_ends_early_is_named(run: Any, tmp_path: Path) -> None:
    judge = "  judge: {command: [sh, -c, 'echo SUCCESS [one]']}\ntarget: writer"
    verifier = ('{command: [python, check.py, "{data}/out.txt"]}', "{program: judge, expect: [one, two]}")
    ran = run(lone(tmp_path / "lines", ("target: writer", judge), verifier))
    assert ran.report.exit_code == 1 and ran.outcomes == {"one": "SUCCESS", "two": "MISSING"}
    assert "judge, the verifier, ended by itself (exit code 0) before it had judged two" in ran.findings("verifier")[0]


def test_the_exit_code_of_a_program_among_the_others_can_be_the_verdict(run: Any, tmp_path: Path) -> None:
    for code, outcome in ((0, "SUCCESS"), (5, "FAILURE")):
        judge = f"  judge: {{command: [sh, -c, 'exit {code}']}}\ntarget: writer"
        verifier = ('{command: [python, check.py, "{data}/out.txt"]}', "{program: judge, exit_code: true}")
        ran = run(lone(tmp_path / "lines", ("target: writer", judge), verifier))
        assert ran.outcomes == {"lines": outcome} and ran.report.exit_code == (0 if code == 0 else 1)


# --- a command that judges a pipeline with a broker ---


def judged_by_command(folder: Path, sender: str = "test_runner.py") -> str:
    """The stateful pipeline, judged by a command in the end."""
    real = bundled.scenarios_dir() / "stateful"
    text = (real / "scenario.yaml").read_text().partition("verifier:")[0]
    for program in ("worker_2.py", "worker_3.py", "test_runner.py"):
        text = text.replace(program, str(real / program))
    folder.mkdir()
    (folder / "stays.py").write_text(
        f"import signal, sys\nsys.path.insert(0, {str(real)!r})\n"
        "import test_runner\ntest_runner.main()\nsignal.pause()\n"
    )
    text = text.replace(str(real / "test_runner.py"), str(real / sender) if sender != "stays.py" else sender)
    (folder / "check.sh").write_text(
        'for id in CLI1 CLI2; do grep -q "SUCCESS .$id." "$1/worker-3.log" || exit 1; done; echo both are right\n'
    )
    (folder / "scenario.yaml").write_text(text + 'verifier: {command: [sh, check.sh, "{logs}"]}\n')
    return str(folder)


def test_a_command_judges_a_pipeline_when_it_has_come_to_rest(run: Any, tmp_path: Path) -> None:
    ran = run(judged_by_command(tmp_path / "shop"), kills=2, duplicates=1, seed=3)
    assert ran.report.exit_code == 0, ran.report
    assert [(v.outcome, v.detail) for v in ran.report.verdicts] == [("SUCCESS", "both are right")]
    assert all(fault.fired for fault in ran.report.faults)


def test_a_sender_that_stays_up_is_waited_for_until_it_is_quiet(run: Any, tmp_path: Path) -> None:
    folder = Path(judged_by_command(tmp_path / "shop", "stays.py"))
    file = folder / "scenario.yaml"
    file.write_text(file.read_text().replace("test-runner:\n", "test-runner:\n    stays_up: true\n"))
    ran = run(str(folder))
    assert ran.report.exit_code == 0, ran.report
    assert ran.report.duration_s < 8, "after some quiet, not at the time limit"
