"""Names from outside that become part of a path: one rule for all of them.

It does not build paths; it only says whether a name is safe.
"""

from __future__ import annotations

import re

from chaoskit.durable.errors import UnsafeNameError

# fullmatch, because `$` would also accept a line break at the end.
_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_safe_name(name: str) -> bool:
    """Tell whether `name` is 1 to 64 of `A-Z a-z 0-9 _ -`: no separator, no dot, no NUL, never empty."""
    return _SAFE.fullmatch(name) is not None


def safe_name(name: object, what: str = "name") -> str:
    """Return `name` unchanged, or raise UnsafeNameError that calls it `what`."""
    if isinstance(name, str) and is_safe_name(name):
        return name
    shown = repr(name)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    raise UnsafeNameError(f"{what} {shown} is not 1 to 64 letters, digits, '_' or '-'")
