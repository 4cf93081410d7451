"""YAML that remembers its lines, so that an error in a file names the file, the line and the field.

Loading is safe: no tag makes an object. A key that stands twice is an error, since the second would silently win.
"""

import re
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import inspect

from chaoskit.model.errors import UsageError

T = TypeVar("T")
Where = tuple[str | int, ...]
_LARGEST_FILE_BYTES = 1_000_000
_LARGEST_DOCUMENT = 100_000
_DEEPEST = 50
_LARGEST_NUMBER = 2**63
_UNKNOWN_FIELD = re.compile("unknown field `([^`]*)`")
_LIST_WANTED = "a list of words, such as [python, worker.py]"
_NO_CHARACTER = re.compile("[\x00\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """The safe loader, refusing duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands here twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Source:
    """A parsed YAML document and where each of its fields stands."""

    name: str
    data: Any
    root: yaml.Node | None

    def error(self, problem: str, where: Where = ()) -> UsageError:
        """A one-line error: `plan.yaml, line 4, steps[0].at.nth: <problem>`."""
        return UsageError(f"{self.name}, line {self.line(where)}{self._field(where)}: {problem}")

    def line(self, where: Where) -> int:
        """The line, from 1, of the deepest part of `where` that exists."""
        node = self.root
        line = node.start_mark.line + 1 if node else 1
        for part in where:
            key, node = _child(node, part)
            if node is None:
                break
            line = (key or node).start_mark.line + 1
        return line

    @staticmethod
    def _field(where: Where) -> str:
        text = ""
        for part in where:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
        return f", {text.lstrip('.')}" if text else ""

    def convert(self, value: Any, kind: type[T], where: Where = (), own: Collection[str] = ()) -> T:
        """`value` as a `kind`, or a UsageError that names the field; fields that are our `own` are not offered."""
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as e:
            problem, _, path = str(e).partition(" - at `")
            plain = path.rstrip("`").replace("key in ", "").replace("[...]", "").lstrip("$")
            inner = tuple(p for p in plain.split(".") if p)
            if unknown := _UNKNOWN_FIELD.search(problem):
                known = [name for name in _fields(inspect.type_info(kind), inner) if name not in own]
                problem += f" (known: {', '.join(known)})" if known else ""
                inner = (*inner, unknown[1])
            if problem == "Expected `array`, got `str`":
                problem = _LIST_WANTED if inner[-1:] == ("command",) else "a list, such as [one, another]"
            if problem.endswith("got `null`"):
                problem = f"has no value: fill it in ({problem[:1].lower()}{problem[1:]})"
            raise self.error(problem[:1].lower() + problem[1:], (*where, *inner)) from None


def _fields(info: inspect.Type, where: Where) -> list[str]:
    """The fields that there are at `where` in a type; keys of mappings and positions in lists are no part of that."""
    if isinstance(info, inspect.UnionType):
        return [name for kind in info.types for name in _fields(kind, where)]
    if isinstance(info, inspect.DictType):
        return _fields(info.value_type, where)
    if isinstance(info, inspect.VarTupleType | inspect.ListType):
        return _fields(info.item_type, where)
    if not isinstance(info, inspect.StructType):
        return []
    if not where:
        return [field.encode_name for field in info.fields]
    return [name for field in info.fields if field.encode_name == where[0] for name in _fields(field.type, where[1:])]


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if str(key.value) == str(part).split("[")[0]:
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    return None, None


def parse(text: str, name: str) -> Source:
    """Parse YAML `text`; `name` is what errors call it. Raises UsageError with the line."""
    try:
        root = yaml.compose(text, _Loader)
        _check_size(root)
        source = Source(name, yaml.load(text, _Loader), root)
        _check_value(source, source.data, ())
        return source
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        problem = " ".join(str(getattr(e, "problem", None) or e).split())
        raise UsageError(f"{name}, line {mark.line + 1 if mark else 1}: {problem}") from None
    except UsageError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        # Values that contradict their tag (`!!bool perhaps`) come out of the YAML library as all of these.
        raise UsageError(f"{name}: not YAML that can be read: {e}") from None


def _check_size(root: yaml.Node | None) -> None:
    """Raises ValueError for a document that is too deep, or too large once its aliases are written out."""
    waiting, count = [(root, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > _LARGEST_DOCUMENT or depth > _DEEPEST:
            raise ValueError("it is nested too deeply, or its aliases stand for too much")
        if isinstance(node, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(part, depth + 1) for part in node.value]


def _check_value(source: Source, value: Any, where: Where) -> None:
    """Refuse what no journal could hold: numbers beyond 64 bits, infinite ones, and characters that are none."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_value(source, str(key), where)
            _check_value(source, part, (*where, str(key)))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            _check_value(source, part, (*where, i))
    elif isinstance(value, int | float) and not abs(value) < _LARGEST_NUMBER:
        raise source.error("the number is too large", where)
    elif isinstance(value, str) and _NO_CHARACTER.search(value):
        raise source.error("has a character that cannot be part of a text", where)


def read(path: Path) -> Source:
    """Read and parse the YAML file `path`. Raises UsageError when it cannot be read or is no YAML."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
        if len(data) > _LARGEST_FILE_BYTES:
            raise UsageError(f"{path}: more than {_LARGEST_FILE_BYTES} bytes: is this the right file?")
        return parse(data.decode("utf-8"), str(path))
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise UsageError(f"{path}: not UTF-8 text (byte {e.start}): is this the right file?") from None
