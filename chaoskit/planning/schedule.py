"""When the faults of a step that recurs happen, and on whom: the same seed gives the same schedule. Pure.

It is a schedule, not a promise: a program that is dead at its moment cannot be killed, and a busy machine is late.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from chaoskit.model.plan import Plan
from chaoskit.model.triggers import AtIntervals


class Moment(NamedTuple):
    """`t_s` seconds after the pipeline is ready, on this program."""

    t_s: float
    target: str


def moments(plan: Plan, index: int, targets: Sequence[str]) -> Iterator[Moment]:
    """The moments of step `index`, whose trigger is `AtIntervals`, without end unless it says for how long.

    They depend on the seed and on the step, and on which of several equal steps it is: a plan from which other steps
    are left out keeps its moments.
    """
    step = plan.steps[index]
    assert isinstance(step.at, AtIntervals)
    earlier = sum(1 for other in plan.steps[:index] if other == step)
    rng = Random(f"{plan.seed} {step} {earlier}")
    for n, t_s in enumerate(_times(step.at, rng)):
        if step.at.for_s is not None and t_s > step.at.for_s:
            return
        yield Moment(t_s, targets[n % len(targets)] if step.at.each else rng.choice(targets))


def _times(at: AtIntervals, rng: Random) -> Iterator[float]:
    t_s = 0.0
    while True:
        if at.every_s is not None:
            t_s += at.every_s
            if rng.random() >= at.probability:
                # The coin is tossed for each period, also for the last ones before the time is over.
                if at.for_s is not None and t_s > at.for_s:
                    return
                continue
        else:
            t_s += rng.expovariate(1 / (at.mean_s or 1))
        yield t_s
