"""The questions of `chaoskit init`: asked on a terminal only, each with the guess as its default."""

import shlex
from collections.abc import Collection
from dataclasses import replace

import typer

from chaoskit.engine.drafting import Draft, DraftProgram
from chaoskit.model.scenario import Verifier


def ask(draft: Draft, given: Collection[str]) -> Draft:
    """The draft with the user's answers; `given` are the options that he has given already."""
    if "name" not in given:
        draft = replace(draft, name=typer.prompt("Name of the scenario", default=draft.name))
    draft = replace(draft, programs=tuple(_with_command(program) for program in draft.programs))
    if draft.broker_candidates and draft.broker_service is None:
        candidates = list(draft.broker_candidates)
        draft = replace(draft, broker_service=_choose("Which service is the broker", candidates, candidates[0]))
    names = [program.name for program in draft.programs]
    if "target" not in given and len(names) > 1:
        draft = replace(draft, target=_choose("Who is hurt", names, draft.target))
    if "verifier" not in given:
        draft = _ask_verifier(draft, names)
    if "success" not in given and draft.verifier_command is None:
        draft = _ask_success(draft)
    if "expect" not in given and draft.needs_expect:
        draft = _ask_expected(draft)
    return draft


def expected(text: str, draft: Draft) -> tuple[str, ...] | int | str | None:
    """What `--expect` and its question mean: a parameter, a number, or ids with commas between; nothing is None."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if len(words) != 1:
        return words or None
    if words[0] in draft.parameters:
        return words[0]
    return int(words[0]) if words[0].isdecimal() else words


def _with_command(program: DraftProgram) -> DraftProgram:
    if program.command != ():
        return program
    return replace(program, command=_words(f"Command of {program.name} (empty: fill in later)"))


def _words(question: str) -> tuple[str, ...]:
    while True:
        try:
            return tuple(shlex.split(typer.prompt(question, default="", show_default=False)))
        except ValueError as e:
            typer.echo(f"That cannot be split into words: {e}")


def _choose(question: str, names: list[str], guess: str) -> str:
    while True:
        answer: str = typer.prompt(f"{question} ({', '.join(names)})", default=guess)
        if answer in names:
            return answer
        typer.echo(f"There is no program {answer!r}.")


def _ask_verifier(draft: Draft, names: list[str]) -> Draft:
    if draft.verifier_command is not None:
        return replace(draft, verifier_command=_words("Command that judges when all is at rest (empty: fill in later)"))
    return replace(draft, verifier=_choose("Who prints the verdicts", names, draft.verifier or names[-1]))


def _ask_success(draft: Draft) -> Draft:
    usual = Verifier().success
    success = typer.prompt("A line that says SUCCESS, as a regular expression", default=usual)
    return draft if success == usual else replace(draft, success=success)


def _ask_expected(draft: Draft) -> Draft:
    hint = f"; {draft.verifier} has {draft.expect_hint}" if draft.expect_hint else ""
    question = f"Ids that must be judged (A, B), or how many{hint} (empty: fill in later)"
    return replace(draft, expect=expected(typer.prompt(question, default="", show_default=False), draft))
