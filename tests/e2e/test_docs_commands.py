"""The commands of the pages, typed as a reader types them: they do what the page says, and print what it shows.

Compared is the form: the same lines, but for times, seeds and the names of directories (docs/sessions.py). A page is
played from its first command to its last in one shell, in an empty directory that looks like a checkout.
"""

import contextlib
import importlib.util
import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WITHIN_S = 240


def load(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sessions = load("sessions")
PAGES = {
    str(path.relative_to(ROOT)): list(sessions.steps(path.read_text()))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
COMMANDS = [(page, step) for page, found in PAGES.items() for step in found if isinstance(step, sessions.Command)]
LEFT_OUT = [(page, command) for page, command in COMMANDS if sessions.not_here(command)]

# What visits hundreds of points is played at some of them: the others are those of tests/e2e/test_explore.py.
SHORTER = {
    ".venv/bin/chaoskit explore stateful": " --only 'fsync*#1' --faults kill",
    "make chaos SCENARIO=partition-writes KILLS=5": " ARGS='--set NUM_CHUNKS=5'",
}
WRITER = """
import os, sys
open(os.path.join(sys.argv[1] if len(sys.argv) > 1 else os.environ["WORKER_DATA_DIR"], "note"), "w").write("whole")
"""
COMPOSE = """
services:
  rabbitmq: {image: rabbitmq:4-management}
  worker: {build: ., environment: {INPUT_QUEUE: orders, OUTPUT_QUEUE: totals}, volumes: [data:/data]}
  checker: {build: ., environment: {INPUT_QUEUE: totals}}
volumes: {data: {}}
"""


def prepare_init(directory: Path) -> None:
    """The folder of a user of docs/init.md, whose commands are alternatives: none finds what another has written."""
    (directory / "scenario.yaml").unlink(missing_ok=True)
    (directory / "docker-compose.yaml").write_text(COMPOSE)
    (directory / "compose.yaml").write_text(COMPOSE)
    (directory / "compose.override.yaml").write_text("services: {worker: {environment: {ORDERS: 3}}}\n")
    (directory / "writer.py").write_text(WRITER)
    (directory / "chaos").mkdir(exist_ok=True)


# What a page takes for granted before each of its commands, beside a checkout.
PREPARED: dict[str, Callable[[Path], None]] = {"docs/init.md": prepare_init}


@contextlib.contextmanager
def downed(directory: Path) -> Iterator[None]:
    """Stop what a page has brought up, also where it fails in between."""
    try:
        yield
    finally:
        subprocess.run([sys.executable, "-m", "chaoskit", "down"], cwd=directory, capture_output=True, check=False)


def shortened(command: Any) -> Any:
    """The command as it is played; its page may have a comment behind it."""
    bare = re.sub(r"\s+#.*", "", command.text)
    return sessions.Command(bare + SHORTER.get(bare, ""), command.printed)


@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize("page", [page for page, found in PAGES.items() if found])
def test_a_page_does_and_prints_what_it_says(page: str, tmp_path: Path) -> None:
    directory = sessions.checkout(tmp_path)
    prepare = PREPARED.get(page, lambda _: None)
    with downed(directory), sessions.Shell(directory, WITHIN_S) as shell:
        for step in PAGES[page]:
            prepare(directory)
            played = step if isinstance(step, sessions.Edit) else shortened(step)
            done = sessions.play(played, shell, directory)
            if done is None:
                continue
            assert done.code == step.code, f"{page}: {done.command.text}\n{done.printed}"
            assert "Traceback" not in done.printed
            if step.printed is not None:
                assert sessions.form(done.printed) == sessions.form(step.printed), done.printed


@pytest.mark.parametrize(("page", "command"), LEFT_OUT, ids=lambda value: getattr(value, "text", value)[:50])
def test_a_command_that_is_not_played_names_what_there_is(page: str, command: Any, tmp_path: Path) -> None:
    """`make` has the target, `docker compose` can read the file, chaoskit takes the options."""
    words = re.sub(r"\s+#.*", "", command.text).split()
    if "make" in words:
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif "compose" in words and "docker" in words:
        files = [ROOT / word for flag, word in itertools.pairwise(words) if flag == "-f"]
        assert files[0].is_file()
        if shutil.which("docker"):
            asked = ["docker", "compose", "-f", str(files[0]), "config", "--quiet"]
            subprocess.run(asked, check=True, capture_output=True)
    else:
        assert words[0].endswith("chaoskit")
        # The same without a runtime that needs an engine; `--dry-run` makes no run with faults.
        local = [{"shop": "stateful"}.get(word, word) for word in words[1:] if word not in ("--runtime", "compose")]
        asked = [sys.executable, "-m", "chaoskit", *local, "--dry-run"]
        subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True)


def test_what_is_left_out_is_left_out_for_a_reason_and_stands_in_a_page() -> None:
    reasons = {sessions.not_here(command) for _, command in LEFT_OUT}
    assert reasons <= set(sessions.NOT_HERE.values())
    unused = [begin for begin, why in sessions.NOT_HERE.items() if why not in reasons]
    assert unused == []
    played = {re.sub(r"\s+#.*", "", command.text) for _, command in COMMANDS}
    assert [text for text in SHORTER if text not in played] == []


def test_the_form_keeps_places_and_verdicts_and_forgets_times_and_seeds() -> None:
    shown = "    0.161 s  kill w at w/0/write:a#2@7, 7 bytes written\nPASS  2 of 2 verdicts SUCCESS, 0.5 s, seed 8\n"
    again = "    1.2 s  kill w at w/0/write:a#2@7, 7 bytes written\n  3 of 9 made, 3 survived\n"
    assert sessions.form(shown) == sessions.form(again + "PASS 2 of 2 verdicts SUCCESS, 10.5 s, seed 91\n")
    assert sessions.form(shown) != sessions.form(shown.replace("@7", "@8"))
    assert sessions.form(shown) != sessions.form(shown.replace("2 of 2", "1 of 2"))


def test_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    with sessions.Shell(tmp_path) as shell:
        assert shell.run(sessions.Command("cd / && false")).code == 1
        assert shell.run(sessions.Command("pwd")).printed == "/\n"


def test_a_recording_shows_what_commands_print_here_and_now(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    blocks = ("sh\nmkdir made\nfalse", "console\n$ echo old > made/note\nstale\n$ cat made/note", "yaml\nname: kept")
    edit = "diff\n--- made/note\n+++ made/note\n-old\n+new"
    page.write_text("".join(f"```{block}\n```\n" for block in (*blocks, edit, "console\n$ cat made/note")))
    sessions.record(page)
    recorded = [block for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.M | re.S)]
    assert recorded[0] == "mkdir made\nfalse\n"
    assert recorded[1] == "$ echo old > made/note\n$ cat made/note\nold\n"
    assert recorded[-1] == "$ cat made/note\nnew\n"


def test_a_diff_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("other\n")
    (edit,) = sessions.steps("```diff\n--- note\n+++ note\n-old\n+new\n```\n")
    with pytest.raises(ValueError, match="note does not have the lines"):
        edit.apply(tmp_path)
