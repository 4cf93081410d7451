"""The plan: every step of a run, as data. plan.yaml is its file form: `parse` reads what `dump` writes, as by hand.

Whether a fault of that name exists, and takes that trigger and those options, is the faults table's to say: this
module knows only the shape.
"""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from chaoskit.model import sources, triggers
from chaoskit.model.scenario import Scalar
from chaoskit.model.sources import Source
from chaoskit.model.triggers import Trigger, TriggerError


class Step(msgspec.Struct, frozen=True):
    """One fault on one target at one trigger. `target` is a program, a queue or the broker, as the fault says."""

    fault: str
    target: str
    at: Trigger
    options: dict[str, Scalar] = {}

    def __str__(self) -> str:
        options = "".join(f", {name} {value}" for name, value in self.options.items())
        return f"{self.fault} {self.target} at {self.at}{options}"


class Plan(msgspec.Struct, frozen=True):
    """All steps of a run. The seed is the one they were drawn from (or 0 for a plan written by hand).

    `drawn`: its bytes were chosen from the writes of a control run. A write that is shorter this time is hurt at its
    end; in a plan from a file such a byte is not there, and the step does not fire.
    """

    seed: int
    steps: tuple[Step, ...] = ()
    drawn: bool = False


def load(path: Path, faults: "frozenset[str]") -> tuple[Plan, Source]:
    """The plan in the file `path` and its source, for later errors with a line. Raises UsageError."""
    source = sources.read(path)
    return parse(source, faults), source


def parse(source: Source, faults: "frozenset[str]") -> Plan:
    """The plan in `source`; `faults` are the names a step may carry. Raises UsageError with line and field."""
    data = source.data
    if not isinstance(data, dict) or not isinstance(data.get("steps"), list):
        raise source.error("a plan is a mapping with `seed` and a list of `steps`")
    for key in data:
        if key not in ("seed", "steps"):
            raise source.error("is unknown here (known: seed, steps)", (str(key),))
    seed = source.convert(data.get("seed", 0), int, ("seed",))
    return Plan(seed, tuple(_step(source, i, item, faults) for i, item in enumerate(data["steps"])))


def _step(source: Source, i: int, item: Any, faults: "frozenset[str]") -> Step:
    here = ("steps", i)
    known = ", ".join(sorted(faults))
    if not isinstance(item, dict):
        raise source.error("a step is a mapping such as {kill: worker-2, at: {...}}", here)
    named = [key for key in item if key in faults]
    if len(named) != 1:
        raise source.error(f"a step names exactly one fault (one of {known})", here)
    fault = named[0]
    target = source.convert(item[fault], str, (*here, fault))
    if "at" not in item:
        raise source.error("a step needs `at`, its trigger", here)
    try:
        at = triggers.parse(item["at"], target)
    except TriggerError as e:
        raise source.error(str(e), (*here, "at", *([e.field] if e.field else []))) from None
    options = {str(key): value for key, value in item.items() if key not in (fault, "at")}
    for name, value in options.items():
        if not isinstance(value, str | int | float | bool):
            raise source.error("an option is a text, a number, true or false", (*here, name))
    return Step(fault, target, at, options)


def dump(plan: Plan) -> str:
    """plan.yaml as text, ending in a newline."""
    steps = [{step.fault: step.target, "at": step.at.dump(step.target), **step.options} for step in plan.steps]
    return yaml.safe_dump({"seed": plan.seed, "steps": steps}, sort_keys=False, default_flow_style=None, width=100)
