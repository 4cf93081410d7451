"""JSON Schema (draft 2020-12) of plan.yaml, made from the table of faults and the table of triggers.

One alternative a fault, so that an editor that completes `kill:` offers the triggers and the options of a kill. Whether
a target exists is for the parser to say: a plan does not name its scenario.
"""

from collections.abc import Callable, Mapping
from typing import Any

from chaoskit.faults import TABLE
from chaoskit.faults.base import BROKER, Fault, Option
from chaoskit.model.schema import DIALECT, Schema
from chaoskit.model.triggers import DURATION, AtCall, AtIntervals, AtLog, AtMessage, AtTime, TriggerKind

_TEXT: Schema = {"type": "string", "minLength": 1}
_NTH: Schema = {"type": "integer", "minimum": 1, "default": 1}
_DURATION: Schema = {
    "anyOf": [{"type": "string", "pattern": f"^{DURATION.pattern}$"}, {"type": "number", "exclusiveMinimum": 0}]
}
_JSON_TYPES: Mapping[type, Schema] = {
    float: {"type": "number", "minimum": 0},
    int: {"type": "integer", "minimum": 0},
    bool: {"type": "boolean"},
    str: {"type": "string"},
}


def plan_schema() -> Schema:
    """The schema of plan.yaml, as a document of plain dicts and lists."""
    steps = {
        "type": "array",
        "description": "The faults of the run.",
        "items": {"anyOf": [*map(_step, TABLE.values())]},
    }
    seed = {"type": "integer", "default": 0, "description": "The seed the plan was drawn from; 0 by hand."}
    return {
        "$schema": DIALECT,
        "title": "chaoskit plan",
        "type": "object",
        "properties": {"seed": seed, "steps": steps},
        "required": ["steps"],
        "additionalProperties": False,
    }


def _step(fault: Fault) -> Schema:
    kind = {"const": BROKER} if fault.target == "broker" else _TEXT
    target = {**kind, "description": f"{fault.summary}. The {fault.target} that is hurt."}
    alternatives = [trigger for kind in fault.triggers for trigger in _triggers(kind, fault)]
    at = {"description": "When: names one trigger.", "anyOf": alternatives}
    options = {name: _option(option) for name, option in fault.options.items()}
    return {
        "title": fault.name,
        "description": fault.summary,
        "type": "object",
        "properties": {fault.name: target, "at": at, **options},
        "required": [fault.name, "at"],
        "additionalProperties": False,
    }


def _option(option: Option) -> Schema:
    choices = {"enum": list(option.choices)} if option.choices else {}
    pattern = {"pattern": f"^{option.pattern}$"} if option.pattern else {}
    return {**_JSON_TYPES[option.kind], **choices, **pattern, "description": option.summary, "default": option.default}


def _triggers(kind: TriggerKind, fault: Fault) -> list[Schema]:
    """A schema for each key that names a trigger of this kind."""
    if kind is AtCall:
        return [_call(op) for op in kind.KEYS if op in fault.operations]
    # `message: 2` counts the messages of the queue that is the target, and the broker is none.
    keys = [key for key in kind.KEYS if key != "message" or fault.target != "broker"]
    return [_BUILDERS[kind](key) for key in keys]


def _call(op: str) -> Schema:
    others: dict[str, Any] = {
        "nth": {**_NTH, "description": "Which such call, counted within one life of the program."},
        "when": {"enum": ["before", "inside", "after"], "description": "inside goes with `byte`."},
        "life": {"type": "integer", "minimum": 0, "description": "0: before the first restart. Without it: any life."},
    }
    if op != "write":
        others["when"] = {"enum": ["before", "after"], "default": "before"}
        return _trigger(AtCall, op, {**_TEXT, "description": f"A {op} on a path that matches this glob."}, others)
    offsets = [{"type": "integer", "minimum": 0}, {"enum": ["first", "middle", "last"]}]
    others["byte"] = {"anyOf": offsets, "description": "Inside: so many bytes really reach the file."}
    made = _trigger(AtCall, op, {**_TEXT, "description": "A write to a path that matches this glob."}, others)
    made["if"] = {"required": ["byte"]}
    made["then"] = {"properties": {"when": {"const": "inside"}}}
    made["else"] = {"properties": {"when": {"enum": ["before", "after"]}}}
    return made


def _log(key: str) -> Schema:
    return _trigger(AtLog, key, {**_TEXT, "format": "regex", "description": AtLog.summary}, {"nth": _NTH})


def _message(key: str) -> Schema:
    if key == "message":
        words = "The nth message published to the queue that is the step's target."
        return _trigger(AtMessage, key, {"type": "integer", "minimum": 1, "description": words}, {})
    return _trigger(AtMessage, key, {**_TEXT, "description": f"A queue: at a message {key}."}, {"nth": _NTH})


def _time(key: str) -> Schema:
    seconds = {"type": "number", "minimum": 0, "exclusiveMaximum": 1e6, "description": AtTime.summary}
    return _trigger(AtTime, key, seconds, {})


def _intervals(key: str) -> Schema:
    others: dict[str, Any] = {
        "for": {**_DURATION, "description": "Not for longer than this; without it until every verdict has come."},
        "each": {"type": "boolean", "default": False, "description": "Several targets in turn, not at random."},
    }
    if key == "every":
        chance = {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1.0}
        others["probability"] = {**chance, "description": "How likely it happens each time."}
    return _trigger(AtIntervals, key, {**_DURATION, "description": AtIntervals.summary}, others)


_BUILDERS: Mapping[TriggerKind, Callable[[str], Schema]] = {
    AtLog: _log,
    AtMessage: _message,
    AtTime: _time,
    AtIntervals: _intervals,
}


def _trigger(kind: TriggerKind, key: str, value: Schema, others: Schema) -> Schema:
    return {
        "title": key,
        "description": f"{kind.summary}, for example {kind.example}",
        "type": "object",
        "properties": {key: value, **others},
        "required": [key],
        "additionalProperties": False,
    }
