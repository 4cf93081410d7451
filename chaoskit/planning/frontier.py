"""The frontier of an exploration: which experiments wait, and which new ones a result brings. Pure.

Three sources: the places of a control run; places that only a later life has (found while exploring, visited once);
and, from depth 2 on, every place of each recovery. Recoveries from the same state are explored once.
"""

import fnmatch
from collections import deque
from collections.abc import Iterable, Sequence

from chaoskit.model.plan import Step
from chaoskit.planning.experiments import Experiment, Place, at_place


class Frontier:
    """Experiments in the order in which they are to be made. `only` is a pattern on the names of points."""

    def __init__(self, faults: Sequence[str], depth: int, only: str | None = None) -> None:
        self._faults, self._depth, self._only = tuple(faults), depth, only
        self._waiting: deque[Experiment] = deque()
        self._last: deque[Experiment] = deque()
        self._ids: set[str] = set()
        self._keys: set[tuple[object, ...]] = set()
        self._futures: set[tuple[object, ...]] = set()
        self.found = 0
        self.merged = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._last)

    def take(self) -> Experiment | None:
        """The next experiment to make, None when none waits."""
        queue = self._waiting or self._last
        return queue.popleft() if queue else None

    def add_control(self, places: Iterable[Place], prior: Sequence[Step]) -> None:
        """Every place of a control run that went with these `prior` steps (doubled messages, or none)."""
        for place in places:
            self._keys.add((_context(prior), *place.key))
            self._add(at_place(place, self._faults, prior))

    def add_plan(self, experiment: Experiment) -> None:
        """One experiment that is not at a place, such as doubled messages and nothing else."""
        self._add([experiment])

    def add_result(self, experiment: Experiment, later: Iterable[Place], recovery: Sequence[Place], state: str) -> None:
        """What an experiment showed: places of later lives, those of its last recovery, the state it recovered from."""
        steps = experiment.plan.steps
        if any("for_s" in step.options for step in steps):
            # How often the program died until it was healed is up to the clock: its lives cannot be named again.
            return
        context = _context(steps)
        for place in later:
            key = (context, *place.key)
            if key not in self._keys:
                self._keys.add(key)
                self._add(at_place(place, self._faults, steps, experiment.depth))
        if experiment.depth < self._depth and recovery:
            self._add_recovery(experiment, recovery, state)

    def _add_recovery(self, experiment: Experiment, recovery: Sequence[Place], state: str) -> None:
        # The same files, messages and calls to come, and the same losses possible at each: the same future.
        future = (state, *recovery)
        if future in self._futures:
            self.merged += 1
            return
        self._futures.add(future)
        for place in recovery:
            self._add(at_place(place, self._faults, experiment.plan.steps, experiment.depth + 1))

    def _add(self, experiments: Iterable[Experiment]) -> None:
        for experiment in experiments:
            if experiment.id in self._ids or not self._wanted(experiment):
                continue
            self._ids.add(experiment.id)
            # A recovery sends its whole handshake anew, and changes no file by it: those points come last.
            again = experiment.depth > 1 and experiment.op == "send"
            (self._last if again else self._waiting).append(experiment)
            self.found += 1

    def _wanted(self, experiment: Experiment) -> bool:
        return self._only is None or fnmatch.fnmatchcase(experiment.point, f"*{self._only}*")


def _context(steps: Iterable[Step]) -> str:
    """Under which doubled messages a place was found: with them it is another place."""
    return "; ".join(str(step) for step in steps if step.fault == "duplicate")
