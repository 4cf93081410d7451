"""The draft of a scenario: what is known of it so far. None in a field that a scenario needs: to be filled in."""

from dataclasses import dataclass, field, replace

from chaoskit.model.scenario import Restart, Scalar


@dataclass(frozen=True)
class DraftProgram:
    """One program. `command` None: it is a Compose service; an empty one is to be filled in.

    `remark` is what stands behind it as a comment.
    """

    name: str
    command: tuple[str, ...] | None = None
    data_dir: str | None = None
    after: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Draft:
    """A scenario to be. `remarks` are comments by field.

    `verifier_command` None: the program `verifier` judges; an empty one is to be filled in. `expect` is a number, ids,
    the name of a parameter, or None; `expect_hint` a guess too weak to be written.
    `broker_candidates` are services of which nobody can say which is the broker.
    """

    name: str
    programs: tuple[DraftProgram, ...]
    target: str
    verifier: str | None = None
    verifier_command: tuple[str, ...] | None = None
    success: str | None = None
    failure: str | None = None
    expect: tuple[str, ...] | int | str | None = None
    expect_hint: str = ""
    parameters: dict[str, Scalar] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    broker_service: str | None = None
    broker_candidates: tuple[str, ...] = ()
    broker: bool = True
    restart: Restart = "chaoskit"
    remarks: dict[str, str] = field(default_factory=dict)

    @property
    def needs_expect(self) -> bool:
        """Whether somebody has to say which verdicts must come: not where there can be but one."""
        given = [pattern for pattern in (self.success, self.failure) if pattern is not None]
        nameless = bool(given) and not any("(?P<id>" in pattern for pattern in given)
        return self.verifier_command is None and not nameless

    def open_fields(self) -> list[str]:
        """The fields that must be filled in before the scenario can be loaded."""
        empty = [f"programs.{program.name}.command" for program in self.programs if program.command == ()]
        empty += ["verifier.command"] if self.verifier_command == () else []
        return [*empty, *(["verifier.expect"] if self.needs_expect and self.expect is None else [])]

    def filled(self) -> "Draft":
        """The same with something in every open field, to find out whether the rest is right."""
        programs = tuple(replace(p, command=("true",)) if p.command == () else p for p in self.programs)
        command = ("true",) if self.verifier_command == () else self.verifier_command
        expect = 1 if self.needs_expect and self.expect is None else self.expect
        return replace(self, programs=programs, verifier_command=command, expect=expect)
