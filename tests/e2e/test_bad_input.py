"""Bad input, bad programs and a bad machine: a clear line or verdict in bounded time, and never a traceback."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCENARIOS = Path(__file__).parents[2] / "scenarios"
STATEFUL = SCENARIOS / "stateful"


def write_scenario(directory: Path, worker: str = "", judge: str = "", **fields: str) -> Path:
    """A scenario of two programs without a broker; each is a line of Python (default: print a verdict and wait)."""
    wait = "import signal; signal.pause()"
    (directory / "worker.py").write_text(worker or wait)
    (directory / "judge.py").write_text(judge or f"print('SUCCESS [A]', flush=True)\n{wait}")
    more = "\n".join(f"{name}: {value}" for name, value in {"broker": "false", "timeout_s": "6", **fields}.items())
    path = directory / "scenario.yaml"
    path.write_text(
        "name: odd\nprograms:\n  worker: {command: [python, worker.py]}\n  judge: {command: [python, judge.py]}\n"
        f"target: worker\nverifier: {{program: judge, expect: [A]}}\n{more}\n"
    )
    return path


def is_one_line(text: str) -> bool:
    return text.startswith("chaoskit: ") and text.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "nope"], "there is no scenario 'nope'"),
        (["run", "x" * 5000], "there is no scenario"),
        (["run", ""], "there is no scenario"),
        (["run"], "SCENARIO"),
        (["run", "stateful", "--nope"], "--nope"),
        (["run", "stateful", "--kills", "three"], "--kills"),
        (["run", "stateful", "--kills", "-1"], "--kills"),
        (["run", "stateful", "--seed", "9" * 30], "--seed"),
        (["run", "stateful", "--timeout", "0"], "--timeout"),
        (["run", "stateful", "--timeout", "inf"], "--timeout"),
        (["run", "stateful", "--repeat", "0"], "--repeat"),
        (["run", "stateful", "--runtime", "nonsense"], "--runtime nonsense"),
        (["run", "stateful", "--set", "FOO=1"], "--set FOO: stateful has no such parameter"),
        (["run", "stateful", "--set", "NUM_CHUNKS"], "expected NAME=VALUE"),
        (["run", "stateful", "--set", "=3"], "expected NAME=VALUE"),
        (["run", "stateful", "--set", "NUM_CHUNKS=a\nb"], "cannot be printed"),
        (["run", "stateful", "--plan", "none.yaml"], "none.yaml: No such file"),
        (["run", "stateful", "--plan", "/dev/zero"], "/dev/zero"),
        (["run", "stateful", "--plan", "p.yaml", "--kills", "1"], "--plan names all faults"),
        (["run", "stateful", "--kills", "1", "--no-control"], "--no-control needs --plan"),
        (["run", "stateful", "--kills", "100000"], "ask for fewer"),
        (["run", "stateful", "--each"], "--each goes with --kills"),
        (["run", "stateful", "--each", "--plan", "none.yaml"], "--each goes with --kills"),
        (["run", ":bug:"], "there is no scenario ':bug:'"),
        (["replay", "none"], "not the directory of a run"),
        (["judge", "."], "not the directory of a run"),
        (["report", "."], "report.json"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_bad_command_line_is_one_line_and_code_two(chaoskit: Any, args: list[str], words: str) -> None:
    done = chaoskit(*args)
    assert done.code == 2, done.text
    assert words in done.err
    assert is_one_line(done.err) or "ask for fewer" in done.err


def test_without_a_command_it_prints_the_help_page_and_ends_with_code_two(chaoskit: Any) -> None:
    done = chaoskit()
    assert (done.code, done.out) == (2, "")
    assert done.err == chaoskit("--help").out


def test_bytes_that_are_no_text_on_the_command_line_are_harmless(chaoskit: Any) -> None:
    for args in (["run", os.fsdecode(b"\xff\xfe")], ["run", "stateful", "--set", os.fsdecode(b"NUM_CHUNKS=\xff")]):
        done = chaoskit(*args)
        assert done.code == 2, done.text
        assert is_one_line(done.err)


def test_a_parameter_that_the_programs_refuse_ends_in_missing_verdicts_not_in_a_traceback(chaoskit: Any) -> None:
    done = chaoskit("run", "stateful", "--set", "NUM_CHUNKS=--5", "--timeout", "20")
    assert done.code == 1, done.text
    assert "NUM_CHUNKS must be a whole number" in done.out


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("steps: [{kill: worker-7, at: {log: x}}]", "p.yaml, line 1, steps[0].kill: there is no program 'worker-7'"),
        ("seed: 1\nsteps:\n  - kill: worker-2\n    at: {write: x, nth: 0}\n", "p.yaml, line 4, steps[0].at.nth"),
        ("steps:\n\t- x", "p.yaml, line 2"),
    ],
)
def test_a_plan_that_does_not_fit_names_its_line(chaoskit: Any, empty: Path, plan: str, words: str) -> None:
    (empty / "p.yaml").write_text(plan)
    done = chaoskit("run", "stateful", "--plan", "p.yaml")
    assert done.code == 2
    assert words in done.err
    assert is_one_line(done.err)


def test_a_plan_of_another_scenario_is_refused(chaoskit: Any, empty: Path) -> None:
    write_scenario(empty)
    (empty / "p.yaml").write_text("steps: [{kill: worker-2, at: {log: x}}]")
    done = chaoskit("run", ".", "--plan", "p.yaml")
    assert done.code == 2
    assert "there is no program 'worker-2' (programs: worker, judge)" in done.err


def test_a_broken_scenario_names_its_line(chaoskit: Any, empty: Path) -> None:
    path = write_scenario(empty, targets="x")
    done = chaoskit("run", str(path))
    assert done.code == 2
    assert "scenario.yaml, line 9, targets: " in done.err
    assert is_one_line(done.err)


@pytest.mark.parametrize("content", ["", "{", "\x00", '{"type":"ready","t_s":1}\n', "x" * 10_000 + "\n"])
def test_a_journal_that_is_none_is_one_line(chaoskit: Any, empty: Path, content: str) -> None:
    (empty / "saved").mkdir()
    (empty / "saved" / "journal.jsonl").write_text(content)
    (empty / "saved" / "report.json").write_text(content)
    for verb in ("judge", "replay", "report"):
        done = chaoskit(verb, "saved")
        assert done.code == 2, done.text
        assert is_one_line(done.err)


# --- programs that misbehave ---


def test_a_small_scenario_without_a_broker_is_green(run: Any, empty: Path) -> None:
    write_scenario(empty)
    ran = run(empty)
    assert ran.report.exit_code == 0, ran.report


def test_a_command_that_is_not_there_is_a_problem_of_the_machine(run: Any, empty: Path) -> None:
    path = write_scenario(empty)
    path.write_text(path.read_text().replace("[python, worker.py]", "[no-such-program]"))
    ran = run(empty)
    assert ran.report.exit_code == 3
    assert "the command 'no-such-program' is not found" in ran.findings("run-ended")[0]


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_command_that_cannot_be_started_is_a_problem_of_the_machine(run: Any, empty: Path, mode: int) -> None:
    path = write_scenario(empty)
    (empty / "odd-program").write_bytes(b"\x00\x01 this is no program")
    (empty / "odd-program").chmod(mode)
    path.write_text(path.read_text().replace("[python, worker.py]", "[./odd-program]"))
    assert run(empty).report.exit_code == 3


def test_a_program_that_dies_again_and_again_is_given_up(run: Any, empty: Path) -> None:
    write_scenario(empty, worker="raise SystemExit(7)", judge="import signal; signal.pause()", timeout_s="30")
    ran = run(empty)
    assert ran.report.exit_code == 1
    assert ran.outcomes == {"A": "MISSING"}
    assert ran.report.duration_s < 20
    assert "worker, which dies again and again" in ran.findings("run-ended")[0]
    assert ran.findings("exits") == ["worker ended by itself with code 7 (4 times)"]


def test_a_consumer_that_dies_at_once_is_given_up_in_a_pipeline_with_a_broker(run: Any, empty: Path) -> None:
    text = (STATEFUL / "scenario.yaml").read_text().replace("[python, worker_2.py]", "[sh, -c, 'exit 3']")
    for name in ("worker_3.py", "test_runner.py"):
        text = text.replace(name, str(STATEFUL / name))
    (empty / "scenario.yaml").write_text(text)
    ran = run(empty)
    assert ran.report.exit_code == 1
    assert ran.report.duration_s < 30
    assert "worker-2, which dies again and again" in ran.findings("run-ended")[0]


def test_a_program_that_ignores_sigterm_is_killed_at_the_end(run: Any, empty: Path, alive: Any) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
    write_scenario(empty, worker=deaf)
    ran = run(empty)
    assert ran.report.exit_code == 0
    assert ran.report.duration_s < 10
    assert alive(empty) == []


FORKS = """
import os, signal, subprocess, sys
for new_session in (False, True):
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=new_session)
print("forked", flush=True)
signal.pause()
"""


def test_children_that_a_program_leaves_behind_are_gone_afterwards(run: Any, empty: Path, alive: Any) -> None:
    write_scenario(empty, worker=FORKS)
    ran = run(empty, plan="steps: [{kill: worker, at: {log: forked}}]", control=False)
    assert ran.report.exit_code == 0, ran.report
    assert ran.report.restarts == {"worker": 1}
    assert alive(empty) == []


ESCAPED_FLOOD = """
import signal, subprocess, sys
flood = "import sys\\nsys.stdin.read()\\nwhile True: sys.stdout.write('y' * 65536)"
child = subprocess.Popen([sys.executable, "-c", flood], start_new_session=True, stdin=subprocess.PIPE)
print("forked", flush=True)
child.stdin.close()
signal.pause()
"""


def test_an_escaped_child_that_floods_does_not_hold_up_the_end_of_its_program(
    run: Any, empty: Path, alive: Any
) -> None:
    write_scenario(empty, worker=ESCAPED_FLOOD)
    ran = run(empty, plan="steps: [{kill: worker, at: {log: forked}}]", control=False)
    assert ran.report.exit_code == 0, ran.report
    assert alive(empty) == []


FLOOD = "import sys\nwhile True: sys.stdout.write('noise ' * 20 + '\\n')"


def test_a_program_that_floods_its_log_fills_neither_journal_nor_disk(run: Any, empty: Path) -> None:
    write_scenario(empty, worker=FLOOD, judge="import signal; signal.pause()", timeout_s="4")
    ran = run(empty)
    assert ran.report.exit_code == 1
    assert (ran.path / "journal.jsonl").stat().st_size < 10_000_000
    assert (ran.path / "logs" / "worker.log").stat().st_size < 100_000_000
    assert ran.report.duration_s < 20


def test_a_verifier_that_floods_is_still_heard(run: Any, empty: Path) -> None:
    judge = "import sys\nfor n in range(60000): print('noise')\nprint('SUCCESS [A]', flush=True)\n" + FLOOD
    write_scenario(empty, judge=judge, timeout_s="20")
    ran = run(empty)
    assert ran.outcomes == {"A": "SUCCESS"}
    assert (ran.path / "journal.jsonl").stat().st_size < 10_000_000


def test_a_verifier_that_dies_without_a_verdict_is_missing(run: Any, empty: Path) -> None:
    write_scenario(empty, judge="raise SystemExit(1)", restart="none", timeout_s="20")
    ran = run(empty)
    assert ran.report.exit_code == 1
    assert ran.outcomes == {"A": "MISSING"}
    assert ran.report.duration_s < 15


def test_a_program_that_hangs_is_missing_at_the_time_limit(run: Any, empty: Path) -> None:
    text = (STATEFUL / "scenario.yaml").read_text().replace("timeout_s: 60", "timeout_s: 4")
    (empty / "hangs.py").write_text("import signal\nprint('hanging', flush=True)\nsignal.pause()")
    text = text.replace("[python, worker_2.py]", "[python, hangs.py]")
    for name in ("worker_3.py", "test_runner.py"):
        text = text.replace(name, str(STATEFUL / name))
    (empty / "scenario.yaml").write_text(text)
    ran = run(empty)
    assert ran.report.exit_code == 1
    assert ran.outcomes == {"CLI1": "MISSING", "CLI2": "MISSING"}
    assert 4 <= ran.report.duration_s < 12
    assert "worker-2" in ran.findings("run-ended")[0]


def test_hostile_output_of_a_verifier_reaches_no_terminal(chaoskit: Any, empty: Path) -> None:
    judge = (
        "import signal, sys\n"
        "sys.stdout.buffer.write(b'SUCCESS [A]\\x1b[2J \\xff\\x00 [/bold]\\n')\n"
        "sys.stdout.buffer.write(b'FAILURE [\\x1b]0;owned\\x07[/red] x] y\\n')\n"
        "sys.stdout.flush()\nsignal.pause()"
    )
    write_scenario(empty, judge=judge)
    done = chaoskit("run", ".", "--junit", "j.xml", "--summary", "s.md")
    assert done.code == 1, done.text
    for text in (done.text, (empty / "j.xml").read_text(), (empty / "s.md").read_text()):
        assert "\x1b" not in text
        assert "\x07" not in text


# --- a machine that cannot ---


def test_a_run_directory_that_cannot_be_made_is_code_three(chaoskit: Any, empty: Path) -> None:
    (empty / ".chaoskit").write_text("in the way")
    done = chaoskit("run", "stateful")
    assert done.code == 3
    assert is_one_line(done.err)
    assert "no run directory can be made here" in done.err


def limited(directory: Path, limit: str, *args: str) -> subprocess.CompletedProcess[str]:
    """`chaoskit ARGS` under a limit of the shell, such as `-n 12` (files) or `-f 4` (blocks of a file)."""
    command = f'ulimit {limit}; exec "$0" -m chaoskit "$@"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *args],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("limit", ["-f 4", "-f 1"])
def test_a_disk_that_takes_no_more_is_code_three_and_no_traceback(empty: Path, alive: Any, limit: str) -> None:
    done = limited(empty, limit, "run", "stateful")
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 3, done.stdout + done.stderr
    assert alive(empty) == []


@pytest.mark.parametrize("limit", ["-n 16", "-n 24"])
def test_too_few_descriptors_are_no_traceback(empty: Path, alive: Any, limit: str) -> None:
    done = limited(empty, limit, "run", "stateful", "--timeout", "5")
    assert "Traceback" not in done.stdout + done.stderr
    # The programs have the same limit: where chaoskit itself has enough, it is they who die.
    assert done.returncode in (1, 3), done.stdout + done.stderr
    assert alive(empty) == []


@pytest.mark.parametrize("option", ["--junit", "--summary", "--report-dir"])
@pytest.mark.parametrize("command", [("run", "json-file"), ("explore", "json-file"), ("replay", "saved")])
def test_a_report_that_cannot_be_written_is_told_before_anything_runs(
    chaoskit: Any, empty: Path, option: str, command: tuple[str, ...]
) -> None:
    (empty / "file").write_text("")
    if "saved" in command:
        assert chaoskit("run", "json-file", "--seed", "1").code == 0
        (empty / ".chaoskit" / "runs").rename(empty / "runs")
        (saved,) = (empty / "runs").iterdir()
        saved.rename(empty / "saved")
    done = chaoskit(*command, option, "file/below")
    assert done.code == 2
    assert is_one_line(done.err)
    assert not (empty / ".chaoskit" / "runs").exists()


@pytest.mark.parametrize(("seed", "code"), [(5, 1), (6, 2)])
def test_a_report_that_cannot_be_written_at_the_end_leaves_the_code_of_a_run_that_is_not_green(
    chaoskit: Any, empty: Path, seed: int, code: int
) -> None:
    more = ("--junit", "/dev/full", "--summary", "s.md", "--report-dir", "kept")
    done = chaoskit("run", "json-file", "--kills", "1", "--seed", str(seed), *more)
    assert done.code == code, done.text
    assert done.err == "chaoskit: /dev/full: the report cannot be written: No space left on device\n"
    assert (empty / "s.md").is_file() and (empty / "kept" / "report.json").is_file(), "the others are written"


def test_a_look_whether_a_report_can_be_written_leaves_no_empty_one(chaoskit: Any, empty: Path) -> None:
    (empty / "there.md").write_text("before\n")
    done = chaoskit("run", "json-file", "--kills", "100000", "--junit", "new/j.xml", "--summary", "there.md")
    assert done.code == 2, done.text
    assert not (empty / "new" / "j.xml").exists()
    assert (empty / "there.md").read_text() == "before\n"


def test_a_report_directory_that_is_the_run_itself_is_no_traceback(chaoskit: Any) -> None:
    assert chaoskit("run", "stateful").code == 0
    assert chaoskit("report", ".chaoskit/latest", "--report-dir", ".chaoskit/latest").code in (0, 2)


def test_output_that_nobody_reads_is_no_traceback(empty: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$0" -m chaoskit run stateful | head -1', sys.executable],
        cwd=empty,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_what_a_run_writes_is_readable_by_its_owner_only_where_it_matters(run: Any) -> None:
    ran = run()
    assert stat.S_ISDIR(ran.path.stat().st_mode)
    assert not ran.path.stat().st_mode & stat.S_IWOTH
