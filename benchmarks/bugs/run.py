"""The planted-bug benchmark: `python benchmarks/bugs/run.py [--only NAME] [--random] [--json] [--docs FILE]`.

Explores every planted worker of the catalogue until its first failure, and every negative control to the end. Exit
code 0 when all planted bugs were found and all controls survived, else 1. It leaves nothing behind but what `--docs`
and `--keep` name.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalogue import BUGS, Bug, matching
from measuring import Explored, Killed, explored, kills_for, randomly_killed
from staging import stage
from table import Result, line, page


def main() -> int:
    """Run what the arguments ask for."""
    wanted = _arguments()
    bugs = [bug for pattern in wanted.only or [""] for bug in matching(pattern)]
    if not bugs:
        sys.exit(f"--only {' '.join(wanted.only)}: no row of the catalogue has such a name")
    docs = wanted.docs.resolve() if wanted.docs else None
    saved = wanted.results.resolve() if wanted.results else None
    known = _read(saved) if saved else {}
    results = []
    with _directory(wanted.keep) as directory:
        for bug in dict.fromkeys(bugs):
            results.append(_measure(bug, known.get(bug.name), directory, wanted))
            print(line(results[-1]), file=sys.stderr if wanted.json else sys.stdout, flush=True)
            if saved and results[-1] is not known.get(bug.name):
                with saved.open("a") as file:
                    file.write(json.dumps(_plain(results[-1])) + "\n")
    if wanted.json:
        print(json.dumps([_plain(result) for result in results], indent=2))
    if docs:
        docs.write_text(page(results, wanted.seed, _machine(wanted.jobs)))
    return 0 if all(result.as_expected for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Explore workers with planted bugs.")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows whose name holds NAME (repeatable)")
    parser.add_argument("--random", action="store_true", help="also kill at random times, in as many runs")
    parser.add_argument("--json", action="store_true", help="the results on stdout")
    parser.add_argument("--results", type=Path, metavar="FILE", help="add results to FILE; its rows are not made again")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write the page of docs/")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep scenarios and failing runs, for chaoskit replay")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="experiments at a time")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the random times")
    return parser.parse_args()


def _machine(jobs: int) -> str:
    load = os.getloadavg()[2]
    return f"{os.cpu_count()} cores, {jobs} experiments at a time, load average {load:.0f} at the end"


def _plain(result: Result) -> dict[str, Any]:
    killed = dataclasses.asdict(result.killed) if result.killed else None
    return {"name": result.bug.name, "explored": dataclasses.asdict(result.explored), "killed": killed}


def _read(file: Path) -> dict[str, Result]:
    rows = [json.loads(text) for text in file.read_text().splitlines()] if file.is_file() else []
    bugs = {bug.name: bug for bug in BUGS}
    return {
        row["name"]: Result(
            bugs[row["name"]], Explored(**row["explored"]), Killed(**row["killed"]) if row["killed"] else None
        )
        for row in rows
        if row["name"] in bugs
    }


def _measure(bug: Bug, known: Result | None, directory: Path, wanted: argparse.Namespace) -> Result:
    """Measure what is not known yet."""
    killing = wanted.random and bug.planted and not (known and known.fails_always)
    if known and (known.killed or not killing):
        return known
    place = directory / bug.name.replace("/", "-")
    staged = stage(bug, place / "scenario")
    os.chdir(place)
    made = known.explored if known else explored(staged, wanted.jobs)
    explored_only = Result(bug, made, None)
    if not killing or explored_only.fails_always:
        return explored_only
    return Result(bug, made, randomly_killed(staged, kills_for(made), wanted.seed, wanted.jobs, place / "random"))


@contextlib.contextmanager
def _directory(kept: Path | None) -> Iterator[Path]:
    """Where everything happens: `kept`, which must not be in use, or a directory that is removed at the end."""
    before = Path.cwd()
    try:
        if kept is not None:
            kept.mkdir(parents=True)
            yield kept.resolve()
        else:
            with tempfile.TemporaryDirectory(prefix="planted-bugs-") as made:
                yield Path(made)
                os.chdir(before)
    except FileExistsError:
        sys.exit(f"--keep {kept}: it exists; name a new directory")
    finally:
        os.chdir(before)


if __name__ == "__main__":
    sys.exit(main())
