"""Placeholders: `{data}`, `{logs}` and `{PARAMETER}` in a command or in a value of an environment. Pure.

Only a name in braces is one. Everything else in braces is left as it is, and so is a shell's `${NAME}`; the text
`{data}` itself is written `{{data}`. They are filled where a program is started, for that is where its directories
are known.
"""

import re
from collections.abc import Collection, Mapping

DIRECTORIES = ("data", "logs")
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PLACEHOLDER = re.compile(rf"(?<!\$)(?:\{{\{{({_NAME})\}}\}}?|\{{({_NAME})\}})")


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each placeholder that `values` has replaced by its value, and `{{name}}` by `{name}`."""

    def value(match: re.Match[str]) -> str:
        literal, name = match.groups()
        return f"{{{literal}}}" if literal else values.get(name, match[0])

    return _PLACEHOLDER.sub(value, text)


def unknown(text: str, names: Collection[str]) -> str | None:
    """The first placeholder of `text` that is none of `names`; None when all are."""
    found = (name for literal, name in _PLACEHOLDER.findall(text) if not literal and name not in names)
    return next(found, None)
