"""Draws the results of the planted-bug benchmark: lines for a terminal, and the page in docs/. It measures nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from catalogue import Bug
from measuring import FEWEST_KILLS, MOST_KILLS, Explored, Killed


@dataclass(frozen=True)
class Result:
    """What was measured for one row of the catalogue. `killed` is None where random kills were not asked for."""

    bug: Bug
    explored: Explored
    killed: Killed | None

    @property
    def as_expected(self) -> bool:
        """A planted bug was found, or a negative control survived every experiment."""
        return bool(self.explored.found) if self.bug.planted else self.explored.code == 0

    @property
    def fails_always(self) -> bool:
        """Without any fault too: random kills are not needed to see that."""
        return self.explored.found == "control run"

    @property
    def found_by_kills(self) -> bool:
        return self.fails_always or bool(self.killed and self.killed.found)


def line(result: Result) -> str:
    """One line for a terminal."""
    made, killed = result.explored, result.killed
    if made.found:
        found = (
            f"found by the {made.found}" if made.found == "control run" else f"found by experiment {made.experiments}"
        )
        text = f"{found} ({made.seconds:.1f} s): {made.plan} -> {made.why}"
    else:
        text = f"{made.experiments} of {made.known} experiments survived ({made.seconds:.1f} s)"
    kills = f"; random kills: {killed.found} of {killed.runs} ({killed.seconds:.1f} s)" if killed else ""
    mark = "ok " if result.as_expected else "BAD"
    return f"{mark} {result.bug.name}: {text}{kills}"


def page(results: Sequence[Result], seed: int, machine: str) -> str:
    """The page docs/benchmarks-bugs.md. `machine` says where and how it was measured."""
    planted = [result for result in results if result.bug.planted]
    controls = [result for result in results if not result.bug.planted]
    return "\n".join(
        [*_opening(planted, seed, machine), "", *_planted_table(planted), "", *_controls_table(controls), ""]
    )


def _opening(planted: Sequence[Result], seed: int, machine: str) -> list[str]:
    found = [result for result in planted if result.explored.found]
    lucky = [result for result in planted if result.found_by_kills]
    hits = sum(result.killed.found for result in planted if result.killed)
    runs = sum(result.killed.runs for result in planted if result.killed)
    return [
        "# Planted bugs: what explore finds, and what random kills find",
        "",
        f"Made by `python benchmarks/bugs/run.py --random --docs docs/benchmarks-bugs.md` (seed {seed}; {machine}).",
        "Each row is a worker of a bundled scenario with one mistake; its program stands in `benchmarks/bugs/`.",
        "",
        f"- `chaoskit explore` finds **{len(found)} of {len(planted)}**.",
        f"- As many runs with a SIGKILL at a random time (but {FEWEST_KILLS} to {MOST_KILLS})"
        f" find {len(lucky)} of {len(planted)}; {hits} of {runs} such runs failed.",
        "",
        'Experiments and seconds are those until the first failure was confirmed by two more runs; "control run" means',
        "that the run without a fault fails already. Random kills are made in the same laboratories at a time drawn",
        "evenly from readiness to the last message: a pipeline under full load, the best case for them. At a message",
        "every few seconds, as in most real pipelines, their chances are smaller by orders of magnitude.",
        "",
        "'explore with' names what differs from the defaults. Where it has `--only`, a search in depth 2 was narrowed",
        "to a few points, to save time: without, the same plan comes after hundreds of others. Rows may have",
        "been measured in several sessions (`--results`), so their seconds depend on what else the machine did.",
    ]


def _planted_table(planted: Sequence[Result]) -> list[str]:
    lines = [
        "| worker | its mistake | explore with | experiments | seconds | failing plan | random kills |",
        "| --- | --- | --- | ---: | ---: | --- | ---: |",
    ]
    for result in planted:
        bug, made = result.bug, result.explored
        experiments = (
            str(made.experiments) if made.found == "experiment" else made.found or f"not in {made.experiments}"
        )
        kills = f"{result.killed.found} of {result.killed.runs}" if result.killed else ""
        kills = "every run" if result.fails_always else kills
        cells = [bug.name, bug.description, bug.asked, experiments, f"{made.seconds:.1f}", made.plan, kills]
        lines.append(_row(cells))
    return lines


def _controls_table(controls: Sequence[Result]) -> list[str]:
    lines = [
        "## Negative controls",
        "",
        "Workers that are correct, or different and as good: every experiment has to be survived.",
        "",
        "| worker | what is different | experiments | survived | seconds |",
        "| --- | --- | ---: | --- | ---: |",
    ]
    for result in controls:
        made = result.explored
        survived = "all" if result.as_expected else f"no: {made.plan} {made.why}"
        cells = [result.bug.name, result.bug.description, str(made.experiments), survived, f"{made.seconds:.1f}"]
        lines.append(_row(cells))
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
