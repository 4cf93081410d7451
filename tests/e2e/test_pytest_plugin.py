"""The pytest plugin in real pytest sessions on real runs: green, red, unfired, errors, xdist, Ctrl-C, seeds."""

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from chaoskit.model.run import from_json

pytest_plugins = ["pytester"]
PLANTED = Path(__file__).parent / "planted"
WITHIN_S = 60.0
AFTER_THE_LAST_ROW = '{"kill": "worker-2", "at": {"write": "metadata/CLI1.csv", "nth": 3, "when": "after"}}'
NO_COMMAND = """
name: nothing-there
broker: false
target: only
verifier: {program: only, expect: [A]}
programs: {only: {command: [./there-is-no-such-program]}}
"""
PRINTS = """
name: prints
broker: false
target: only
verifier: {program: only, expect: [A]}
programs: {only: {command: [echo, "SUCCESS [A]"]}}
"""
# It writes a word to a file; started again, it finds out whether the word is whole, and mends it when REPAIR is 1.
NAIVE_PROGRAM = """
import os
fd = os.open(os.environ["WORKER_DATA_DIR"] + "/note", os.O_RDWR | os.O_CREAT)
found = os.read(fd, 100)
if found not in (b"", b"whole") and os.environ["REPAIR"] != "1":
    print("FAILURE [A] - torn:", found)
else:
    os.pwrite(fd, b"whole", 0)
    print("SUCCESS [A]")
"""
NAIVE = """
name: naive
broker: false
parameters: {REPAIR: 0}
target: only
verifier: {program: only, expect: [A]}
programs: {only: {command: [python, naive.py]}}
"""
TORN = '{"kill": "only", "at": {"write": "note", "byte": 2}}'
LONG = """
def test_takes_long(chaos):
    chaos.run("stateful", kills=30, parameters={"NUM_CHUNKS": 500, "EXPECTED_CHUNKS": 500})
"""


def session(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """pytest as a user starts it: a process of its own that loads the plugin by itself."""
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=WITHIN_S)


def naive(pytester: pytest.Pytester) -> str:
    """The path of a scenario with a planted bug that takes a moment to run."""
    (pytester.path / "naive.py").write_text(NAIVE_PROGRAM)
    path = pytester.path / "naive.yaml"
    path.write_text(NAIVE)
    return str(path)


def test_a_scenario_that_survives_is_green_and_its_report_is_handed_back(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from chaoskit.pytest_plugin import Chaos

        @pytest.mark.chaos("stateful", kills=2, seed=5, parameters={"NUM_CHUNKS": 2, "EXPECTED_CHUNKS": 2})
        def test_survives(chaos: Chaos, tmp_path) -> None:
            report = chaos.run(duplicates=1)
            assert (report.result, report.seed, report.parameters["NUM_CHUNKS"]) == ("pass", 5, 2)
            assert [fault.fault for fault in report.faults] == ["kill", "kill", "duplicate"]
            assert report.run_dir.startswith(str(tmp_path))
            assert chaos.reports == [report]
        """
    )
    result = session(pytester, "--strict-markers", "-Werror")
    result.assert_outcomes(passed=1)


def test_a_planted_bug_is_red_and_the_report_says_all_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.chaos({str(PLANTED / "forgets-ready-clients" / "scenario.yaml")!r})
        def test_loses_a_result(chaos):
            chaos.run(plan=[{AFTER_THE_LAST_ROW}])
        """
    )
    result = session(pytester, "--junitxml=junit.xml", "--chaos-report-dir=kept")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*chaos.run(plan=*",
            "E *CLI1*",
            "E *again: chaoskit replay /*",
            "*- chaoskit run 1: forgets-ready-clients, fail -*",
            "kill worker-2 *worker-2/0/write:metadata/CLI1.csv#3*",
            "CLI1 *MISSING*",
            "*last lines of worker-2*",
            "*Client CLI1 is finished, ignoring message*",
            "again: chaoskit replay /*",
        ]
    )
    kept = from_json((pytester.path / "kept" / f"{kept_name(pytester)}" / "report.json").read_bytes())
    assert kept.result == "fail"
    failure = ET.parse(pytester.path / "junit.xml").find(".//failure")
    assert failure is not None
    assert "chaoskit replay /" in (failure.text or "")


def kept_name(pytester: pytest.Pytester) -> str:
    (name,) = os.listdir(pytester.path / "kept")
    return name


def test_the_replay_command_of_a_red_test_repeats_it_from_anywhere(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"def test_it(chaos):\n    chaos.run({naive(pytester)!r}, plan=[{TORN}])")
    lines = session(pytester).outlines
    (command,) = {line.partition("again: ")[2] for line in lines if line.startswith("again: chaoskit replay")}
    again = [sys.executable, "-m", "chaoskit", *command.split()[1:]]
    done = subprocess.run(again, cwd=pytester.path, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 1, done.stderr
    assert "torn: b'wh'" in done.stdout


def test_a_fault_that_never_fired_is_red_although_every_verdict_is_success(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", never="steps: [{kill: worker-2, at: {log: nobody says this}}]")
    pytester.makepyfile("def test_it(chaos):\n    chaos.run('stateful', plan='never.yaml')")
    result = session(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *never fired: kill worker-2*", "*- chaoskit run 1: stateful, inconclusive -*"])


def test_unchecked_a_red_run_is_handed_back(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        def test_the_bug_shows(chaos):
            report = chaos.run({naive(pytester)!r}, plan=[{TORN}], check=False)
            assert [v.outcome for v in report.verdicts] == ["FAILURE"]
        """
    )
    session(pytester).assert_outcomes(passed=1)


def test_explore_is_green_or_red_and_names_the_point(pytester: pytest.Pytester) -> None:
    naive(pytester)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.chaos("naive.yaml", kills=1)
        def test_mended(chaos):
            report = chaos.explore(faults=["kill", "short-write"], parameters={"REPAIR": 1}, depth=2)
            assert report.points.run == report.points.survived > 3

        def test_torn(chaos):
            chaos.explore("naive.yaml", faults=["kill"], only="write:note*")
        """
    )
    result = session(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*- chaoskit explore 1: naive, fail -*", "*inside write:note*", "*chaoskit replay /*"])


def test_what_the_machine_cannot_do_and_bad_requests_are_errors(pytester: pytest.Pytester) -> None:
    (pytester.path / "gone.yaml").write_text(NO_COMMAND)
    pytester.makepyfile(
        """
        import pytest

        def test_no_such_program(chaos):
            chaos.run("gone.yaml")

        def test_no_engine(chaos, monkeypatch):
            monkeypatch.setenv("DOCKER_HOST", "unix:///there/is/no/engine.sock")
            chaos.run("stateful", runtime="compose")

        def test_no_such_scenario(chaos):
            chaos.run("there-is-none.yaml")

        def test_no_such_option(chaos):
            chaos.run("stateful", kils=3)

        @pytest.mark.chaos("stateful")
        def test_no_fixture():
            pass
        """
    )
    result = session(pytester, "--junitxml=junit.xml")
    result.assert_outcomes(errors=5)
    text = result.stdout.str()
    assert "there-is-no-such-program" in text
    assert "ChaosError: there is no scenario 'there-is-none.yaml'" in text
    assert "ChaosError: chaos has no option 'kils'" in text
    assert "does not take the fixture `chaos`" in text
    assert len(ET.parse(pytester.path / "junit.xml").findall(".//error")) == 5


def test_a_marked_test_that_runs_nothing_is_red(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.chaos('stateful')\ndef test_it(chaos):\n    pass")
    result = session(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ran nothing: call chaos.run() or chaos.explore()"])


SEEDS = """
    import pytest

    @pytest.mark.parametrize("n", range(2))
    def test_seed(chaos, n):
        with open("seeds.txt", "a") as file:
            file.write(f"{n} {chaos.run('prints.yaml').seed}\\n")
"""


def seeds(pytester: pytest.Pytester, *arguments: str) -> set[str]:
    (pytester.path / "prints.yaml").write_text(PRINTS)
    pytester.makepyfile(SEEDS)
    session(pytester, *arguments).assert_outcomes(passed=2)
    file = pytester.path / "seeds.txt"
    found = set(file.read_text().splitlines())
    file.unlink()
    return found


@pytest.mark.soak
def test_the_seed_of_the_header_draws_the_same_faults_again_also_under_xdist(pytester: pytest.Pytester) -> None:
    first = seeds(pytester, "-n2", "--chaos-seed=7")
    assert len({line.split()[1] for line in first}) == 2, "each test has its own"
    assert seeds(pytester, "--chaos-seed=7") == first


def test_the_header_has_a_seed_and_a_bad_one_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    assert session(pytester).stdout.re_match_lines([r"chaoskit: .*--chaos-seed=\d+$"]) is None
    assert session(pytester, "--chaos-seed=-1").ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        pytest.param(signal.SIGINT, 0, id="int"),
        pytest.param(signal.SIGKILL, 0, id="kill"),
        pytest.param(signal.SIGINT, 1, id="xdist", marks=pytest.mark.soak),
    ],
)
def test_an_interrupted_session_leaves_no_process(
    pytester: pytest.Pytester, number: signal.Signals, workers: int
) -> None:
    pytester.makepyfile(LONG)
    base = pytester.path / "base"
    # Whoever starts these tests in the background of a shell has them ignore Ctrl-C.
    python = ["env", "--default-signal=INT", sys.executable]
    command = [*python, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={base}", f"-n{workers}"]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, text=True) as process:
        until(lambda: len(processes_below(base)) >= 3, "the programs of the run")
        process.send_signal(number)
        out, _ = process.communicate(timeout=WITHIN_S)
    if number == signal.SIGINT:
        assert process.returncode == pytest.ExitCode.INTERRUPTED
        assert "KeyboardInterrupt" in out
        assert workers or processes_below(base) == [], "they are gone before pytest is"
    until(lambda: not processes_below(base), "their end")


def processes_below(directory: Path) -> list[int]:
    """Programs of runs below `directory`, and whatever works in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mark = f"CHAOSKIT_RUN={directory}".encode() in (entry / "environ").read_bytes()
            here = str((entry / "cwd").readlink()).startswith(str(directory))
        except OSError:
            continue
        if mark or here:
            found.append(int(entry.name))
    return found


def until(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WITHIN_S} s for {what}"


def test_pytest_without_such_tests_does_not_load_the_engine(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "chaoskit.pytest_plugin" in sys.modules
            heavy = {"chaoskit.engine", "chaoskit.pytest_plugin.harness", "msgspec", "typer"}
            assert not heavy & set(sys.modules)
        """
    )
    session(pytester).assert_outcomes(passed=1)
