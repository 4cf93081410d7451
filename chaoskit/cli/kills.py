"""Options of `chaoskit run` that spread kills over targets and over time, and the steps that they stand for."""

from typing import Annotated, Any

import typer

from chaoskit.model import triggers
from chaoskit.model.errors import UsageError
from chaoskit.model.plan import Step
from chaoskit.model.scenario import Scenario
from chaoskit.model.triggers import TriggerError

KillEvery = Annotated[
    str | None, typer.Option("--kill-every", metavar="TIME", help="Kill a target every 5s (timed, not exact).")
]
KillMean = Annotated[
    str | None, typer.Option("--kill-mean", metavar="TIME", help="Kill at random moments, 10s apart on average.")
]
KillFor = Annotated[
    str | None, typer.Option("--kill-for", metavar="TIME", help="End --kill-every or --kill-mean after 30s.")
]
Probability = Annotated[
    float | None, typer.Option("--probability", min=0.001, max=1, help="How likely each kill of --kill-every is.")
]
Each = Annotated[
    bool, typer.Option("--each", help="Several targets: kill each of them in turn, not one at random each time.")
]
_OPTIONS = {"every": "--kill-every", "mean": "--kill-mean", "for": "--kill-for", "probability": "--probability"}


def recurring_kills(
    scenario: Scenario, every: str | None, mean: str | None, probability: float | None, for_: str | None, each: bool
) -> tuple[Step, ...]:
    """The step that kills the scenario's targets again and again; none when none was asked for. Raises UsageError."""
    given = {"every": every, "mean": mean, "probability": probability, "for": for_}
    at: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not at:
        return ()
    if not (every or mean):
        raise UsageError(f"{_OPTIONS[next(iter(at))]} goes with --kill-every or --kill-mean")
    try:
        trigger = triggers.parse({**at, **({"each": True} if each else {})}, "")
    except TriggerError as e:
        raise UsageError(f"{_OPTIONS.get(e.field, '--kill-every')}: {e}") from None
    return (Step("kill", ",".join(scenario.target), trigger),)
