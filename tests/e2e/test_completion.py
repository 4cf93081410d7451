"""Shell completion, asked as the shells ask: the scripts that `--show-completion` prints, in real shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WITHIN_S = 60.0
# The scripts call `chaoskit` by its name.
BIN = Path(sys.executable).parent
SCENARIO = """
name: small
broker: false
target: main
verifier: {program: main, expect: [A]}
programs: {main: {command: [sleep, "1000"]}, mainly-idle: {command: [sleep, "1000"]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scenario.yaml").write_text(SCENARIO)
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **changes}


def offered(folder: Path, *words: str) -> list[str]:
    """What the entry answers to bash when the last of `words` is being typed."""
    line = ["chaoskit", *words]
    asked = environment(_CHAOSKIT_COMPLETE="complete_bash", COMP_WORDS=" ".join(line), COMP_CWORD=str(len(line) - 1))
    done = subprocess.run(["chaoskit"], cwd=folder, env=asked, capture_output=True, text=True, timeout=WITHIN_S)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def chaoskit(folder: Path, *arguments: str) -> None:
    subprocess.run([BIN / "chaoskit", *arguments], cwd=folder, check=True, capture_output=True, timeout=WITHIN_S)


def test_commands_and_options_are_completed(folder: Path) -> None:
    assert {"run", "replay", "report", "restart"} <= set(offered(folder, "r"))
    assert {"--kills", "--seed", "--json"} <= set(offered(folder, "run", "--"))
    assert offered(folder, "schema", "pl") in (["plan"], [])


def test_scenarios_are_bundled_names_and_files(folder: Path) -> None:
    assert "stateful" in offered(folder, "run", "state")
    assert offered(folder, "explore", "part") == ["partition-writes"]
    assert offered(folder, "up", "mi") == ["mine/"]
    assert offered(folder, "run", "mine/") == ["mine/scenario.yaml"]
    assert offered(folder, "run", "./mine/s") == ["./mine/scenario.yaml"]
    assert offered(folder, "run", f"{folder}/no") == [], "a text file is no scenario"


def test_faults_are_completed_one_after_the_other(folder: Path) -> None:
    assert offered(folder, "explore", "stateful", "--faults", "po") == ["power-loss"]
    assert offered(folder, "explore", "stateful", "--faults", "kill,en") == ["kill,enospc"]
    assert offered(folder, "explore", "stateful", "--faults", "kill,kil") == []


def test_the_programs_of_the_pipeline_that_is_up(folder: Path) -> None:
    assert offered(folder, "kill", "") == []
    chaoskit(folder, "up", "-d", "mine")
    try:
        for verb in ("kill", "restart", "logs"):
            assert offered(folder, verb, "ma") == ["main", "mainly-idle"]
        assert offered(folder, "kill", "mainl") == ["mainly-idle"]
    finally:
        chaoskit(folder, "down")


def test_run_directories_the_newest_first(folder: Path) -> None:
    for seed in ("1", "2"):
        (folder / ".chaoskit" / "runs" / f"2026112{seed}T000000Z-small-{seed}").mkdir(parents=True)
    (folder / ".chaoskit" / "latest").symlink_to("runs/20261122T000000Z-small-2")
    wanted = [".chaoskit/latest", *(f".chaoskit/runs/2026112{n}T000000Z-small-{n}" for n in (2, 1))]
    for verb in ("replay", "report", "judge", "shrink"):
        assert offered(folder, verb, ".chaoskit/")[:3] == wanted
    assert offered(folder, "replay", "mi") == ["mine/"]


def test_what_cannot_be_read_is_not_offered_and_nothing_is_said(folder: Path) -> None:
    assert offered(folder, "run", "/there/is/no/such/folder/") == []
    (folder / ".chaoskit" / "latest").mkdir(parents=True)
    (folder / ".chaoskit" / "latest" / "journal.jsonl").write_text("torn")
    assert offered(folder, "kill", "") == []


def within(shell: str, option: str, folder: Path) -> str:
    """What `chaoskit OPTION` says when it is typed in that shell, which it finds out by itself."""
    asked = environment(HOME=str(folder), SHELL=shell)
    command = [shell, "-c", f"chaoskit {option}; true"]
    done = subprocess.run(command, cwd=folder, env=asked, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skip_without(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")


def test_bash_completes_by_the_script_that_is_shown(folder: Path) -> None:
    ask = 'COMP_WORDS=(chaoskit run partition); COMP_CWORD=2; _chaoskit_completion chaoskit; echo "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", f"{within('bash', '--show-completion', folder)}\n{ask}"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=WITHIN_S)
    assert done.stdout.split() == ["partition-writes"], done.stderr


def test_fish_completes_by_the_script_that_is_shown(folder: Path) -> None:
    skip_without("fish")
    command = [
        "fish",
        "--no-config",
        "-c",
        f"{within('fish', '--show-completion', folder)}\ncomplete -C 'chaoskit run s'",
    ]
    asked = environment(HOME=str(folder), COLUMNS="40")
    done = subprocess.run(command, cwd=folder, env=asked, capture_output=True, text=True, timeout=WITHIN_S)
    lines = done.stdout.splitlines()
    assert any(line.startswith("stateful\t") for line in lines), done.stderr
    assert all(line.startswith("s") for line in lines), "a description is one line"


def test_zsh_takes_the_script_and_its_answers(folder: Path) -> None:
    skip_without("zsh")
    # `_arguments` is what zsh gives the answer to; here it shows what it was given.
    ask = '_arguments() { print -r -- "$1" }; words=(chaoskit run stat); CURRENT=3; _chaoskit_completion'
    command = ["zsh", "-f", "-c", f"compdef() {{ }}\n{within('zsh', '--show-completion', folder)}\n{ask}"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=WITHIN_S)
    assert done.stdout.startswith('*: :(("stateful":"A stateful worker'), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish")])
def test_install_completion_touches_only_the_files_of_that_shell(folder: Path, shell: str, file: str) -> None:
    skip_without(shell)
    home = folder / "home"
    home.mkdir()
    within(shell, "--install-completion", home)
    touched = [path for path in home.rglob("*") if path.is_file() and "chaoskit" in path.read_text(errors="replace")]
    assert touched
    assert (home / file).exists()
