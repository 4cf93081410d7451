"""Exit codes: the part of the contract that a CI job scripts against."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Literal

Result = Literal["pass", "fail", "error", "inconclusive"]


class ExitCode(IntEnum):
    """What a command's exit code means; `MEANINGS` has the words that `--help` and the docs print."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    ENVIRONMENT = 3
    INCONCLUSIVE = 4
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "every verdict is SUCCESS and every planned fault fired",
    ExitCode.FAILURE: "a FAILURE, a missing or a contradicting verdict",
    ExitCode.USAGE: "usage, a bad scenario or a bad plan",
    ExitCode.ENVIRONMENT: "the environment: no Docker, a port taken, the broker lost without being hurt",
    ExitCode.INCONCLUSIVE: (
        "inconclusive: a planned fault never fired, nothing ran, or a check of chaoskit's own crashed"
    ),
    ExitCode.INTERRUPTED: "interrupted",
}

# When several apply, the first one here wins; whatever is not named here is milder than all of these.
_PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.ENVIRONMENT,
    ExitCode.FAILURE,
    ExitCode.INCONCLUSIVE,
    ExitCode.OK,
)

_RESULTS: dict[ExitCode, Result] = {
    ExitCode.OK: "pass",
    ExitCode.FAILURE: "fail",
    ExitCode.INCONCLUSIVE: "inconclusive",
}


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The code that stands for all of `codes`; OK when there are none."""
    return min(codes, key=_PRECEDENCE.index, default=ExitCode.OK)


def result_word(code: ExitCode) -> Result:
    """The `result` of a report: pass, fail, error or inconclusive."""
    return _RESULTS.get(code, "error")
