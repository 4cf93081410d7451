"""Shrinking: which smaller plan to try next, until none that is smaller fails. Pure: the caller makes the runs.

First fewer steps (halves, then one by one, as delta debugging does: Zeller and Hildebrandt, "Simplifying and isolating
failure-inducing input", 2002), then simpler triggers: a kill before or after instead of inside, a smaller number, no
option.
"""

from collections.abc import Callable, Iterator

import msgspec

from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtCall, AtLog, AtMessage

EndsLife = Callable[[Step], bool]


class Shrinker:
    """Feeds candidates one at a time: ask `candidate`, make the run, tell `failed`. `best` is the smallest so far."""

    def __init__(self, plan: Plan, ends_life: EndsLife = lambda step: step.fault == "kill") -> None:
        self.best = plan
        self._ends_life = ends_life
        self._tried = {_key(plan)}
        self._candidates = self._all(plan)
        self.candidate: Plan | None = None
        self._advance()

    def failed(self, yes: bool) -> None:
        """What became of `candidate`; a failing one is the new best, and the search goes on from it."""
        assert self.candidate is not None
        if yes:
            self.best = self.candidate
            self._candidates = self._all(self.best)
        self._advance()

    def _advance(self) -> None:
        self.candidate = next((c for c in self._candidates if _key(c) not in self._tried), None)
        if self.candidate is not None:
            self._tried.add(_key(self.candidate))

    def _all(self, plan: Plan) -> Iterator[Plan]:
        yield from (msgspec.structs.replace(plan, steps=steps) for steps in fewer(plan.steps, self._ends_life))
        for i, step in enumerate(plan.steps):
            for simpler in simpler_steps(step):
                yield msgspec.structs.replace(plan, steps=(*plan.steps[:i], simpler, *plan.steps[i + 1 :]))


def _key(plan: Plan) -> bytes:
    # Steps hold their options in a dict, so a plan has no hash.
    return msgspec.json.encode(plan)


def fewer(steps: tuple[Step, ...], ends_life: EndsLife) -> Iterator[tuple[Step, ...]]:
    """Shorter tuples of steps: large parts left out first, single steps last; never none."""
    size = len(steps) // 2
    while size:
        for start in range(0, len(steps), size):
            left_out = steps[start : start + size]
            rest = steps[:start] + steps[start + size :]
            if rest:
                yield tuple(_earlier(step, left_out, ends_life) for step in rest)
        size //= 2


def _earlier(step: Step, left_out: tuple[Step, ...], ends_life: EndsLife) -> Step:
    """The step in the life that it falls into when these are left out: each that ended a life before made one more."""
    at = step.at
    if not isinstance(at, AtCall) or at.life is None:
        return step
    before = sum(
        1
        for other in left_out
        if other.target == step.target and ends_life(other) and isinstance(other.at, AtCall)
        if other.at.life is not None and other.at.life < at.life
    )
    return msgspec.structs.replace(step, at=msgspec.structs.replace(at, life=at.life - before))


def simpler_steps(step: Step) -> Iterator[Step]:
    """The same step, a little simpler: options left at their defaults, then simpler triggers."""
    for name in step.options:
        yield msgspec.structs.replace(step, options={k: v for k, v in step.options.items() if k != name})
    at = step.at
    if isinstance(at, AtCall):
        yield from (msgspec.structs.replace(step, at=simpler) for simpler in _simpler_calls(at, step.fault))
    elif isinstance(at, AtMessage | AtLog):
        for nth in _smaller(at.nth):
            yield msgspec.structs.replace(step, at=msgspec.structs.replace(at, nth=nth))


def _simpler_calls(at: AtCall, fault: str) -> Iterator[AtCall]:
    if at.life is not None:
        yield msgspec.structs.replace(at, life=None)
    if at.when == "inside" and fault == "kill":
        yield msgspec.structs.replace(at, when="before", byte=None)
        yield msgspec.structs.replace(at, when="after", byte=None)
    if isinstance(at.byte, int) and at.byte > 1:
        yield msgspec.structs.replace(at, byte=1)
    for nth in _smaller(at.nth):
        yield msgspec.structs.replace(at, nth=nth)


def _smaller(nth: int) -> Iterator[int]:
    """1, then half, then one less."""
    yield from dict.fromkeys(n for n in (1, nth // 2, nth - 1) if 0 < n < nth)
