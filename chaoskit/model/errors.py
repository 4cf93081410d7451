"""Errors that a user can do something about, each with the exit code it ends in.

The command line prints their text as one line. Anything else that escapes is a bug of ours and keeps its traceback.
"""

from chaoskit.model.exit_codes import ExitCode


class ChaoskitError(Exception):
    """One line: what is wrong, where, and what to do."""

    exit_code = ExitCode.USAGE


class UsageError(ChaoskitError):
    """A bad argument, scenario or plan."""


class EnvironmentProblem(ChaoskitError):
    """The machine cannot do it: a port is taken, a program is not installed, a broker does not answer."""

    exit_code = ExitCode.ENVIRONMENT
