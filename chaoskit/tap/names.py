"""Paths as the names of crash points: the same in every run, and one line of text that every report can hold. Pure."""

import re

# tmpk3x_9a2b.csv (tempfile), state.tmp.Xa81b2, state.tmp4711, state.4711.tmp
_RANDOM_PART = re.compile(r"^(tmp)[a-z0-9_]{8}(?=\.|$)|(\.tmp)[.-]?[A-Za-z0-9_]+$|[.-][0-9]+(?=\.tmp$)")
_UNDECODABLE = range(0xDC80, 0xDD00)  # A byte that is no UTF-8, as `os.fsdecode` gives it.


def stable_name(path: str) -> str:
    """A path by which a crash point can be named: a temporary file's random or process number is dropped."""
    directory, slash, name = path.rpartition("/")
    return printable(directory + slash + _RANDOM_PART.sub(r"\1\2", name))


def printable(path: str) -> str:
    """The path with an escape (`\\n`, `\\xe9`) for each character that is not printable and each stray byte."""
    return path if path.isprintable() else "".join(map(_escaped, path))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if code in _UNDECODABLE else character.encode("unicode_escape").decode("ascii")
