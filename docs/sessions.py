"""Plays the commands of the pages as a reader would, compares what they print, and records it anew.

    python docs/sessions.py README.md docs/tutorial.md

runs the `console` blocks of these pages in an empty copy of the checkout and writes what was printed into them. A
`diff` block is what the reader does with an editor. tests/e2e/test_docs_commands.py also plays the blocks of commands
alone (`sh`), and compares. Nothing is judged here.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_MARK = "-- the command ended with"
_LIMIT_S = 300.0
# What differs from one run to the next: times, seeds, names of directories, and counts that hang on how a program's
# bytes to the broker fall into calls.
_VARIES = (
    (re.compile(r"\d{8}T\d{6}Z-([a-z-]+)-\d+"), r"UTC-\1-SEED"),
    (re.compile(r"\d+\.\d+ s\b"), "T s"),
    (re.compile(r"\bseed \d+"), "seed SEED"),
    (re.compile(r"experiments/\d+"), "experiments/N"),
    (re.compile(r"\b\d+ of \d+ experiments"), "N of N experiments"),
    (re.compile(r"\b\d+ (crash points|experiments known|found|run|survived)\b"), r"N \1"),
    (re.compile(r"^send +broker .*"), "send broker"),
    (re.compile(r"(fsync|write) +(\S+) +[\d ]+$"), r"\1 \2"),
    (re.compile(r" {2,}"), " "),
)
# Of the blocks of commands alone, what a recording needs: the others show nothing.
_PREPARE = ("export ", "cp ", "cd ", "mkdir ")
# Commands that are not played, by how they begin, and why. What is checked of them instead is in the test.
NOT_HERE = {
    "make test": "it would run itself",
    "chaoskit run shop": "shop is a pipeline of the reader's own: the options are tried on another one",
    "docker compose": "needs an engine and minutes: tests/compose plays the same files",
    ".venv/bin/chaoskit run stateful --kills 3 --runtime compose": "needs an engine: tests/compose runs it there",
}
_PROGRESS = re.compile(r"^ +\d+ of \d+ made, \d+ survived")


# What a CI host, or a `make` that this runs in, says to its programs: a reader's terminal does not.
_NOT_A_READERS = {"GITHUB_ACTIONS", "CI", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS", "RUNTIME"}


@dataclass
class Command:
    """A command of a page; `printed` is what the page shows under it, None when it shows nothing."""

    text: str
    printed: str | None = None

    @property
    def code(self) -> int:
        """The exit code that the page promises: by a comment, or by the last line that it shows."""
        if said := re.search(r"#.*\bexit code (\d+)", self.text):
            return int(said[1])
        return 1 if re.search(r"^FAIL ", self.printed or "", re.M) else 0


def not_here(command: Command) -> str | None:
    """Why a command is not played; None when it is."""
    # Variables before a command are part of how it is called, not of what it is.
    bare = re.sub(r"^(\w+=\S+ +)+", "", command.text)
    return next((why for begin, why in NOT_HERE.items() if bare.startswith(begin)), None)


@dataclass
class Edit:
    """What a reader changes in a file: these lines to those."""

    file: str
    before: str
    after: str

    def apply(self, directory: Path) -> None:
        path = directory / self.file
        text = path.read_text()
        if text.count(self.before) != 1:
            raise ValueError(f"{self.file} does not have the lines of the diff exactly once")
        path.write_text(text.replace(self.before, self.after))


@dataclass
class Done:
    """How a command ended."""

    command: Command
    code: int
    printed: str


def steps(page: str) -> Iterator[Command | Edit]:
    """The commands and edits of a page, in its order."""
    for language, text in _FENCE.findall(page):
        if language == "console":
            yield from _console(text)
        elif language == "sh":
            lines = text.replace("\\\n", " ").splitlines()
            yield from (Command(line.strip()) for line in lines if line.strip() and not line.startswith("#"))
        elif language == "diff":
            yield _edit(text)


def _console(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, printed = part.partition("\n")
        yield Command(command, printed)


def _edit(text: str) -> Edit:
    (file,) = re.findall(r"^\+\+\+ (\S+)", text, re.M)
    lines = [line for line in text.splitlines() if not line.startswith(("---", "+++", "@@"))]
    before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    return Edit(file, before, "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-")))


def form(printed: str) -> Counter[str]:
    """The lines that were printed, without what differs each time. Two programs may print in either order."""
    lines = []
    for line in printed.splitlines():
        if line.strip() and not _PROGRESS.match(line):
            for pattern, instead in _VARIES:
                line = pattern.sub(instead, line)
            lines.append(line.strip())
    return Counter(lines)


def checkout(directory: Path) -> Path:
    """A directory that looks like a clone that `make` has set up: links to what git has, and to this Python."""
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (directory / path.name).symlink_to(path)
    venv = directory / ".venv"
    venv.mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name not in (".run", ".dev"):
            (venv / path.name).symlink_to(path)
    # The stamps say that everything is installed, so that `make` installs nothing.
    (venv / ".run").touch()
    (venv / ".dev").touch()
    return directory


@dataclass
class Shell:
    """One shell in which a reader types; directories and variables stay from command to command."""

    directory: Path
    limit_s: float = _LIMIT_S
    process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> "Shell":
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_A_READERS}
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=self.directory,
            env={**kept, "COLUMNS": "120", "NO_COLOR": "1", "PATH": f"{self.directory}/.venv/bin:{kept['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(self.limit_s)
        self.process.stdout.close()

    def run(self, command: Command) -> Done:
        """Type one command and wait for its end; raises TimeoutError when it takes too long."""
        assert self.process.stdin and self.process.stdout
        late = threading.Timer(self.limit_s, os.killpg, (self.process.pid, signal.SIGKILL))
        late.start()
        self.process.stdin.write(f"{{ {command.text}\n}} </dev/null\nprintf '\\n{_MARK} %d\\n' $?\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(_MARK):
                late.cancel()
                return Done(command, int(line.split()[-1]), "".join(lines).removesuffix("\n"))
            lines.append(line)
        raise TimeoutError(f"{command.text} did not end within {self.limit_s:.0f} s:\n{''.join(lines)}")


def record(page: Path) -> None:
    """Play the `console` blocks of a page and write what they print into it."""
    text = page.read_text()
    with tempfile.TemporaryDirectory(prefix="chaoskit-docs-") as made:
        directory = checkout(Path(made))
        with Shell(directory) as shell:
            page.write_text(_FENCE.sub(lambda found: _recorded(found, shell, directory), text))


def _recorded(block: re.Match[str], shell: Shell, directory: Path) -> str:
    if block[1] != "console":
        for step in steps(block[0]):
            if isinstance(step, Edit) or step.text.startswith(_PREPARE):
                play(step, shell, directory)
        return block[0]
    parts = []
    for command in _console(block[2]):
        shown = "".join(f"{line.rstrip()}\n" for line in shell.run(command).printed.splitlines())
        parts.append(f"$ {command.text}\n{shown}")
    return f"```console\n{''.join(parts)}```"


def play(step: Command | Edit, shell: Shell, directory: Path) -> Done | None:
    """Do one step of a page; None when it is an edit, or a command that is not to be run here."""
    if isinstance(step, Edit):
        step.apply(directory)
        return None
    return None if not_here(step) else shell.run(step)


def main() -> None:
    """Record the pages that are named."""
    for name in sys.argv[1:]:
        record(Path(name))


if __name__ == "__main__":
    main()
