"""A draft for commands of this machine, made from nothing but what the user said."""

import shlex
from collections.abc import Mapping, Sequence

from chaoskit.engine.drafting.draft import Draft, DraftProgram
from chaoskit.model.errors import UsageError

_PIPELINE = ("worker", "checker", "sender")


def draft_of(name: str, commands: Mapping[str, tuple[str, ...]], broker: bool) -> Draft:
    """The programs in `commands`, else those of a usual pipeline: with a broker three, without one a lone worker."""
    if commands:
        programs = tuple(DraftProgram(program, command) for program, command in commands.items())
    elif broker:
        programs = tuple(DraftProgram(program, (), after=_after(program)) for program in _PIPELINE)
    else:
        programs = (DraftProgram("worker", ()),)
    names = [program.name for program in programs]
    judge = "checker" if "checker" in names else names[-1]
    return Draft(
        name,
        programs,
        target=names[0],
        verifier=judge if broker else None,
        verifier_command=None if broker else (),
        broker=broker,
        remarks={"programs": "each is started in this file's folder" + ("; they find RABBITMQ_HOST" if broker else "")},
    )


def _after(program: str) -> tuple[str, ...]:
    return ("worker", "checker") if program == "sender" else ()


def commands_of(options: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`NAME=COMMAND` options as commands by name; a lone NAME has one to fill in. Raises UsageError."""
    found = {}
    for option in options:
        name, _, command = option.partition("=")
        if name in found:
            raise UsageError(f"--program {name}: there are two of this name")
        found[name] = words_of(command, f"--program {name}")
    return found


def words_of(command: str, option: str) -> tuple[str, ...]:
    """A command as a shell would split it. Raises UsageError."""
    try:
        return tuple(shlex.split(command))
    except ValueError as e:
        raise UsageError(f"{option}: {command!r} cannot be split into words: {e}") from None
