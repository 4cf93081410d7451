"""What a fault is: a name, the triggers it takes, its options, and what it does at one of three places.

- at a system call, the tap does it while the call is held (`on_call`);
- at a message, the proxy does it while the message is held (`on_message`);
- at anything else, or where it needs no holding, the runtime does it (`act`, through `Hands`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from chaoskit.model.plan import Step
from chaoskit.model.scenario import Scalar
from chaoskit.model.triggers import AtCall, AtLog, AtMessage, AtTime

TargetKind = Literal["program", "queue"]
TriggerKind = type[AtCall] | type[AtLog] | type[AtMessage] | type[AtTime]


class Hands(Protocol):
    """What faults can do to programs. Every call begins its work at once and does not wait."""

    def kill(self, program: str, restart: bool = True) -> None:
        """SIGKILL every process of the program; `restart` False leaves it dead."""

    def pause(self, program: str, for_s: float) -> None:
        """Stop the program's processes for a while (SIGSTOP, then SIGCONT)."""

    def stop(self, program: str) -> None:
        """Ask the program to end (SIGTERM); it is started again as after a kill."""

    def cut(self, program: str) -> None:
        """Break the program's connections to the broker now."""


@dataclass(frozen=True)
class CallAction:
    """What the tap does at a call: kill, pause, answer with an errno, or write less than asked."""

    kind: Literal["kill", "pause", "errno", "short"]
    errno: str | None = None
    times: int | None = 1


@dataclass(frozen=True)
class MessageAction:
    """What the proxy does with a message."""

    kind: Literal["duplicate", "delay", "cut", "drop"]
    copies: int = 1
    late: bool = False
    seconds: float = 0


@dataclass(frozen=True)
class Option:
    """An option of a fault in a plan: its type, its default, and a line for the docs."""

    kind: type[float] | type[int] | type[bool] | type[str]
    default: Scalar
    summary: str
    choices: tuple[Scalar, ...] = ()


@dataclass(frozen=True)
class Fault:
    """One row of the table of faults."""

    name: str
    summary: str
    target: TargetKind
    triggers: tuple[TriggerKind, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    act: Callable[[Step, Hands], None] | None = None
    on_call: Callable[[Step], CallAction] | None = None
    on_message: Callable[[Step], MessageAction] | None = None
    kills: bool = False

    def option(self, step: Step, name: str) -> Scalar:
        """The value of an option in a step, or its default."""
        return step.options.get(name, self.options[name].default)
