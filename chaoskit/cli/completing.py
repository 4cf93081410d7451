"""What the shell completes: scenarios, run directories, programs that are up, faults.

Each answer is made anew at each press of the key, so it is quick and quiet: what cannot be read is not offered.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import ParamSpec

Found = list[tuple[str, str]]
P = ParamSpec("P")
_NEWEST = 20


def _quiet(complete: Callable[P, Iterator[tuple[str, str]]]) -> Callable[P, Found]:
    """Nothing instead of a traceback: between two words of a command line nobody can do anything about an error."""

    @wraps(complete)
    def completed(*args: P.args, **kwargs: P.kwargs) -> Found:
        try:
            return list(complete(*args, **kwargs))
        except Exception:  # noqa: BLE001
            return []

    return completed


@_quiet
def scenario(incomplete: str) -> Iterator[tuple[str, str]]:
    """Bundled scenarios, and files and folders that may hold one."""
    from chaoskit import bundled

    for name in bundled.names():
        if name.startswith(incomplete):
            yield name, bundled.find(name).summary
    for text, path in _below(incomplete):
        if path.is_dir():
            yield f"{text}/", "a folder"
        elif path.suffix in (".yaml", ".yml"):
            yield text, "a file"


@_quiet
def run_directory(incomplete: str) -> Iterator[tuple[str, str]]:
    """The newest runs of this directory, and folders."""
    from chaoskit.engine.rundir import HOME

    runs = sorted(Path(HOME, "runs").glob("*"), reverse=True)[:_NEWEST]
    for path in (Path(HOME, "latest"), *runs):
        if path.is_dir() and str(path).startswith(incomplete):
            yield str(path), "the newest run" if path.name == "latest" else "a run"
    for text, path in _below(incomplete):
        if path.is_dir() and path.parent != Path(HOME, "runs"):
            yield f"{text}/", "a folder"


@_quiet
def program(incomplete: str) -> Iterator[tuple[str, str]]:
    """The programs of the pipeline that is up in this directory, else of its last run."""
    from chaoskit.engine import rundir, upfile
    from chaoskit.engine.log_tail import JournalTail
    from chaoskit.model.events import RunStarted

    up = upfile.current()
    directory = up.run_dir if up else rundir.latest()
    started = next(JournalTail(directory.journal).new())
    if isinstance(started, RunStarted):
        for name in started.scenario.programs:
            if name.startswith(incomplete):
                yield name, f"of {started.scenario.name}"


@_quiet
def fault_list(incomplete: str) -> Iterator[tuple[str, str]]:
    """The faults of `explore`, each once, with commas between."""
    from chaoskit.faults import TABLE
    from chaoskit.planning.experiments import FAULTS

    done, comma, last = incomplete.rpartition(",")
    for name in FAULTS:
        if name.startswith(last) and name not in done.split(","):
            yield f"{done}{comma}{name}", TABLE[name].summary if name in TABLE else ""


def _below(incomplete: str) -> Iterator[tuple[str, Path]]:
    """Files and folders whose path, as it is typed, begins with `incomplete`; hidden ones only where it says so."""
    folder, slash, start = incomplete.rpartition("/")
    for path in sorted(Path(folder + slash or ".").iterdir()):
        if path.name.startswith(start) and (start.startswith(".") or not path.name.startswith(".")):
            yield folder + slash + path.name, path
