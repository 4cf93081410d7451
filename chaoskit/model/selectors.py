"""Selectors: how a scenario or a plan names one or several programs. Pure.

A selector is a name, a glob (`worker-*`), a label (`label:tier=workers`), or several of these with commas in between.
It says nothing about which of several is hurt, or when: that is up to the step that has the selector.
"""

import fnmatch
from collections.abc import Collection, Mapping

_LABEL = "label:"
_GLOB_CHARACTERS = frozenset("*?[")


def is_plain(selector: str) -> bool:
    """Whether the selector is one name, and nothing that could match several."""
    return "," not in selector and not selector.startswith(_LABEL) and not _GLOB_CHARACTERS & set(selector)


def select(
    selector: str, labels: Mapping[str, Mapping[str, str]], unless_named: Collection[str] = ()
) -> tuple[str, ...]:
    """The programs that `selector` stands for, in the order of `labels`, which has every program and its labels.

    Those in `unless_named` (the verifier) are found by their plain name only: a glob is not meant to hurt the judge.
    Raises ValueError with one line for a part that stands for no program.
    """
    found: set[str] = set()
    for part in (part.strip() for part in selector.split(",")):
        matching = {name for name in labels if _matches(part, name, labels[name])}
        if not is_plain(part):
            matching -= set(unless_named)
        if not matching:
            raise ValueError(_no_match(part, labels))
        found |= matching
    return tuple(name for name in labels if name in found)


def _matches(part: str, name: str, labels: Mapping[str, str]) -> bool:
    if part.startswith(_LABEL):
        key, equals, value = part.removeprefix(_LABEL).partition("=")
        return key in labels and (not equals or fnmatch.fnmatchcase(labels[key], value))
    return name == part or fnmatch.fnmatchcase(name, part)


def _no_match(part: str, labels: Mapping[str, Mapping[str, str]]) -> str:
    programs = f"(programs: {', '.join(labels) or 'none'})"
    if part.startswith(_LABEL):
        there = sorted({f"{key}={value}" for own in labels.values() for key, value in own.items()})
        return f"no program has the label {part.removeprefix(_LABEL)!r} (labels: {', '.join(there) or 'none'})"
    if is_plain(part):
        return f"there is no program {part!r} {programs}"
    return f"no program matches {part!r} {programs}"
