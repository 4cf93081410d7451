"""Does a plan fit the faults and a scenario? Errors name the step, and its line where the plan came from a file."""

import re
from collections.abc import Mapping

from chaoskit.faults.base import BROKER, Fault, Option
from chaoskit.model.errors import UsageError
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Scalar, Scenario
from chaoskit.model.sources import Source
from chaoskit.model.triggers import AtCall, AtIntervals, AtMessage


def check_plan(plan: Plan, scenario: Scenario, table: Mapping[str, Fault], source: Source | None = None) -> None:
    """Raises UsageError at the first step that names an unknown target, trigger or option of its fault."""
    for i, step in enumerate(plan.steps):
        problem, field = _problem(step, scenario, table[step.fault])
        if problem and source:
            raise source.error(problem, ("steps", i, field))
        if problem:
            raise UsageError(f"step {i + 1} of the plan, {field}: {problem}")


def _problem(step: Step, scenario: Scenario, fault: Fault) -> tuple[str, str]:
    """What is wrong with a step and in which field of it; two empty strings when nothing is."""
    if fault.target == "program" and (problem := _bad_program(step, scenario)):
        return problem, fault.name
    if fault.target == "broker" and step.target != BROKER:
        return f"{fault.name} hurts the broker, which a plan calls `{BROKER}`, not {step.target!r}", fault.name
    if fault.target == "broker" and scenario.given_broker is not None:
        return f"the broker at {scenario.given_broker} is yours: chaoskit hurts its own broker only", fault.name
    if not scenario.broker and _needs_broker(step, fault):
        return f"{scenario.name} has no broker (`broker: false`): there is no message and no connection", fault.name
    if fault.target == "broker" and not isinstance(scenario.broker, bool):
        return "the broker is not chaoskit's (`broker` says where it is), so it is not hurt", fault.name
    if not isinstance(step.at, fault.triggers):
        takes = ", ".join(key for kind in fault.triggers for key in kind.KEYS)
        return f"{fault.name} does not take this trigger (it takes: {takes})", "at"
    if fault.target == "broker" and isinstance(step.at, AtMessage) and step.at.queue == step.target:
        return "the broker has many queues: name one, such as {published: queue-1-2, nth: 2}", "at"
    if isinstance(step.at, AtCall) and step.at.op not in fault.operations:
        return f"{fault.name} does not happen at a {step.at.op} (but at: {', '.join(fault.operations)})", "at"
    if scenario.restart == "engine" and step.options.get("restart") is False:
        return "the engine starts again what dies (`restart: engine`), so that nothing stays dead", "restart"
    if scenario.restart == "engine" and fault.name == "power-loss":
        return "the engine may start the program again before the loss was played (`restart: engine`)", fault.name
    for name, value in step.options.items():
        if name not in fault.options:
            return f"{fault.name} has no such option (it has: {', '.join(fault.options) or 'none'})", name
        if problem := _bad_value(value, fault.options[name]):
            return problem, name
    return "", ""


def _bad_program(step: Step, scenario: Scenario) -> str:
    """A step names one program; only one that recurs may leave open which of several it is."""
    if step.target == scenario.verifier.last:
        return "the verifier's command judges: it is not hurt"
    if not isinstance(step.at, AtIntervals):
        known = step.target in scenario.programs
        programs = ", ".join(name for name in scenario.programs if name != scenario.verifier.last)
        return "" if known else f"there is no program {step.target!r} (programs: {programs})"
    try:
        scenario.select(step.target)
    except ValueError as e:
        return str(e)
    return ""


def _needs_broker(step: Step, fault: Fault) -> bool:
    of_calls = isinstance(step.at, AtCall) and step.at.op == "send"
    return fault.messages or of_calls or isinstance(step.at, AtMessage)


def _bad_value(value: Scalar, option: Option) -> str:
    accepted: tuple[type, ...] = (int, float) if option.kind is float else (option.kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and option.kind is not bool):
        return f"{value!r} is not a {option.kind.__name__}"
    if option.choices and value not in option.choices:
        return f"{value!r} is not one of {', '.join(map(str, option.choices))}"
    if option.pattern and not re.fullmatch(option.pattern, str(value)):
        return f"{value!r} is not one of {option.words}"
    if option.kind in (int, float) and float(value) < 0:
        return f"{value!r} is less than 0"
    return ""
