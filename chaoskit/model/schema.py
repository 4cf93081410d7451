"""JSON Schema (draft 2020-12) of scenario.yaml, for editors that complete and check while one types.

The shape comes from the structs that the file is read into, so a new field is in the schema by itself; what `parse`
accepts beyond them (a lone word for a list), what it refuses beyond types, and the words that an editor shows are
tables here. It is no second parser: names that refer to each other are checked by `chaoskit.model.scenario` only.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from chaoskit.model.scenario import Scenario

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAME = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
VARIABLE = "^[A-Za-z_][A-Za-z0-9_]*$"

# What an editor shows beside a field. A field that is missing here is completed all the same, without words.
_WORDS: Mapping[str, str] = {
    "Scenario": "A whole pipeline: its programs, who is hurt, and who judges.",
    "Scenario.name": "The scenario's name, as reports and run directories call it.",
    "Scenario.programs": "The programs of the pipeline, by name.",
    "Scenario.target": "Who is hurt: a program, a glob (worker-*), label:tier=workers, or a list of these.",
    "Scenario.verifier": "Who judges, what a verdict line looks like, and which verdicts must come.",
    "Scenario.summary": "What the scenario shows, in one line.",
    "Scenario.parameters": "Environment of every program; `--set NAME=VALUE` changes one.",
    "Scenario.explore": "Smaller parameters that `chaoskit explore` uses.",
    "Scenario.compose": "The Compose file of the pipeline, relative to this file, or a mapping that names more of it.",
    "Scenario.broker": "false where the programs need no broker; or the address of one of yours for local runs.",
    "Broker.host": "The machine where it is.",
    "Broker.port": "Its AMQP port.",
    "Broker.user": "The user as whom programs log in.",
    "Broker.password": "Its password; CHAOSKIT_BROKER_PASSWORD in the environment wins.",
    "Broker.virtual_host": "Its virtual host; programs find it in RABBITMQ_VHOST.",
    "Broker.delete_queues": "Whether the queues that a run used are deleted when it ends.",
    "Scenario.restart": "Who starts a killed program again: chaoskit, the engine or supervisor of yours, or nobody.",
    "Scenario.timeout_s": "A run is given up after so many seconds.",
    "Program.command": "The command and its arguments, run in the scenario's folder; {data} is the data directory.",
    "Program.service": "The Compose service that the program is, where that has another name.",
    "Program.data_dir": "The directory inside the container whose files are watched.",
    "Program.data": "The data directory (WORKER_DATA_DIR); programs that name the same one share it.",
    "Program.environment": "Environment of this program; it wins over the parameters.",
    "Program.after": "Programs that must be ready before this one is started.",
    "Program.labels": "Words to choose programs by: `target: label:tier=workers`.",
    "Program.stays_up": "true for a server: it is not waited for, and is ended with the run.",
    "Compose.files": "Compose files, the later ones override the earlier; relative to this file.",
    "Compose.profiles": "Profiles to enable.",
    "Compose.env_files": "Files with variables for the Compose files; relative to this file.",
    "Compose.broker": "The service that is the broker, where that cannot be seen from its image and ports.",
    "Verifier.program": "The program that prints the verdict lines, or whose exit code is the verdict.",
    "Verifier.command": "A command that runs when everything has come to rest; its exit code is the verdict.",
    "Verifier.data": "The data directory that the command sees (default: that of the first target).",
    "Verifier.environment": "Environment of the command.",
    "Verifier.exit_code": "true: the verdict is how the verifier ends, 0 or not.",
    "Verifier.expect": "The ids that must be judged, or how many: a number, or the parameter that holds it.",
    "Verifier.success": "Regular expression of a line that says SUCCESS; its group (?P<id>...) names what was judged.",
    "Verifier.failure": "Regular expression of a line that says FAILURE; its group (?P<id>...) names what was judged.",
    "Verifier.results": "Queue of results that a worker sends once each: one that comes again unexplained fails.",
}

_TEXT: Schema = {"type": "string", "minLength": 1}
# Accepted beside what the struct says: the parser makes the struct's form of it.
_ALSO: Mapping[str, Schema] = {
    "Scenario.target": _TEXT,
    "Scenario.compose": _TEXT,
}
# Refused although the type is right.
_LIMITS: Mapping[str, Schema] = {
    "Scenario.name": {"pattern": NAME},
    "Scenario.programs": {"propertyNames": {"pattern": NAME}, "minProperties": 1},
    "Scenario.target": {"minItems": 1},
    "Scenario.parameters": {"propertyNames": {"pattern": VARIABLE}},
    "Scenario.timeout_s": {"exclusiveMinimum": 0},
    "Program.environment": {"propertyNames": {"pattern": VARIABLE}},
    "Program.data": {"pattern": NAME},
    "Program.service": {"pattern": NAME},
    "Program.data_dir": {"pattern": "^/"},
    "Compose.files": {"minItems": 1},
    "Verifier.expect": {"minItems": 1, "minimum": 1},
    "Verifier.environment": {"propertyNames": {"pattern": VARIABLE}},
    "Verifier.data": {"pattern": NAME},
    "Verifier.command": {"minItems": 1},
}
_NAMES_ITSELF: Schema = {"pattern": r"\(\?P<id>"}
_IS_TRUE: Schema = {"required": ["exit_code"], "properties": {"exit_code": {"const": True}}}
# Refused although each field is right.
_RULES: Mapping[str, Schema] = {
    # Without a Compose project a program is its command, so there it has to have one.
    "Scenario": {
        "if": {"required": ["compose"], "properties": {"compose": {"not": {"type": "null"}}}},
        "else": {"properties": {"programs": {"additionalProperties": {"required": ["command"]}}}},
    },
    "Verifier": {
        "oneOf": [{"required": ["program"]}, {"required": ["command"]}],
        "dependentRequired": {"data": ["command"], "environment": ["command"]},
        "allOf": [
            # What to expect goes without saying only where there can be but one verdict.
            {"anyOf": [*({"required": [field]} for field in ("expect", "command", "success", "failure")), _IS_TRUE]},
            {"if": _IS_TRUE, "then": {"properties": {"success": False, "failure": False}}},
            {
                "if": {
                    "required": ["expect"],
                    "properties": {"expect": {"anyOf": [{"type": ["integer", "string"]}, {"minItems": 2}]}},
                },
                "then": {"properties": {"success": _NAMES_ITSELF, "failure": _NAMES_ITSELF}},
            },
        ],
    },
}
# Set by the parser; a file that has them is refused.
_NOT_IN_THE_FILE = frozenset({"Scenario.folder"})


def scenario_schema() -> Schema:
    """The schema of scenario.yaml, as a document of plain dicts and lists."""
    (top,), definitions = msgspec.json.schema_components([Scenario])
    for name, definition in definitions.items():
        _refine(name, definition)
    title = {"$schema": DIALECT, "title": "chaoskit scenario"}
    return {**title, **top, "$defs": definitions}


def _refine(struct: str, definition: Schema) -> None:
    definition["description"] = _WORDS.get(struct) or " ".join(definition.get("description", "").split())
    properties = definition.get("properties", {})
    for field in list(properties):
        path = f"{struct}.{field}"
        if path in _NOT_IN_THE_FILE:
            del properties[field]
        else:
            properties[field] = _field(path, properties[field])
    definition.update(_RULES.get(struct, {}))


def _field(path: str, schema: Schema) -> Schema:
    words = {"description": _WORDS[path]} if path in _WORDS else {}
    default = {name: value for name, value in schema.items() if name == "default" and value is not None}
    shape = _plain({name: value for name, value in schema.items() if name != "default"})
    for kind in shape.get("anyOf", [shape]):
        kind.update(_limits_of(path, kind))
    if path in _ALSO:
        shape = {"anyOf": [_ALSO[path], *shape.get("anyOf", [shape])]}
    return {**words, **shape, **default}


_APPLIES = {
    "string": ("pattern", "minLength"),
    "array": ("minItems",),
    "object": ("propertyNames", "minProperties"),
    "integer": ("minimum", "exclusiveMinimum"),
    "number": ("minimum", "exclusiveMinimum"),
}


def _limits_of(path: str, kind: Schema) -> Schema:
    """The limits that say something about a value of this type."""
    names = _APPLIES.get(kind["type"], ()) if isinstance(kind.get("type"), str) else ()
    return {name: limit for name, limit in _LIMITS.get(path, {}).items() if name in names}


def _plain(schema: Schema) -> Schema:
    """The same schema with alternatives of mere types as one list of types."""
    inner = {key: _plain_part(value) for key, value in schema.items()}
    kinds = inner.get("anyOf", [])
    if len(kinds) > 2 and all(set(kind) == {"type"} for kind in kinds):
        names = [kind["type"] for kind in kinds]
        # Every integer is a number.
        return {"type": [name for name in names if name != "integer" or "number" not in names]}
    return inner


def _plain_part(value: Any) -> Any:
    if isinstance(value, dict):
        return _plain(value)
    return [_plain_part(part) for part in value] if isinstance(value, list) else value
