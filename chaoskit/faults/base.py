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
from chaoskit.model.triggers import OPERATIONS, AtCall, TriggerKind

TargetKind = Literal["program", "queue", "broker"]
# What a step calls the broker, of which there is one, whatever its service is called.
BROKER = "broker"


class Hands(Protocol):
    """What faults can do to programs and to the broker. Every call begins its work at once and does not wait."""

    def kill(self, program: str, restart: bool = True) -> None:
        """SIGKILL every process of the program; `restart` False leaves it dead."""

    def pause(self, program: str, for_s: float) -> None:
        """Stop the program's processes for a while (SIGSTOP, then SIGCONT)."""

    def stop(self, program: str, restart: bool = True, grace_s: float = 10.0) -> None:
        """Ask the program to end (SIGTERM, SIGKILL when it has not after the grace), as `kill` otherwise."""

    def cut(self, program: str) -> None:
        """Break the program's connections to the broker now."""

    def disconnect(self, program: str, for_s: float) -> None:
        """Take the program's network away, without closing anything, and give it back after a while."""

    def kill_broker(self, for_s: float) -> None:
        """SIGKILL the broker; it is started again so many seconds after its end."""

    def stop_broker(self, for_s: float) -> None:
        """Ask the broker to end in order; it is started again so many seconds after its end."""


@dataclass(frozen=True)
class CallAction:
    """What the tap does at a call: kill, answer with an errno, or write less than asked.

    `for_s` 0 is once; more is from then on, until it is healed after so many seconds. `power_loss` names the state
    in which the files are found after the kill, None when they are left as they are.
    """

    kind: Literal["kill", "errno", "short"]
    errno: str | None = None
    for_s: float = 0
    power_loss: str | None = None


@dataclass(frozen=True)
class MessageAction:
    """What the proxy does with a message."""

    kind: Literal["duplicate", "delay", "cut", "drop"]
    copies: int = 1
    late: bool = False
    seconds: float = 0


@dataclass(frozen=True)
class Option:
    """An option of a fault in a plan: its type, its default, and a line for the docs.

    A text is one of `choices`, or matches all of `pattern`, which stands for `words`.
    """

    kind: type[float] | type[int] | type[bool] | type[str]
    default: Scalar
    summary: str
    choices: tuple[Scalar, ...] = ()
    pattern: str = ""
    words: str = ""


@dataclass(frozen=True)
class Fault:
    """One row of the table of faults. `operations` are the system calls at which it makes sense.

    `messages`: it hurts messages or connections, so there has to be a broker. `breaks` is what of the target has to be
    there for it, beside the target itself.
    """

    name: str
    summary: str
    target: TargetKind
    triggers: tuple[TriggerKind, ...]
    operations: tuple[str, ...] = OPERATIONS
    options: Mapping[str, Option] = field(default_factory=dict)
    act: Callable[[Step, Hands], None] | None = None
    on_call: Callable[[Step], CallAction] | None = None
    on_message: Callable[[Step], MessageAction] | None = None
    kills: bool = False
    messages: bool = False
    breaks: Literal["", "connection", "network"] = ""

    def option(self, step: Step, name: str) -> Scalar:
        """The value of an option in a step, or its default."""
        return step.options.get(name, self.options[name].default)


def errno_fault(errno: str, name: str, summary: str, operations: tuple[str, ...]) -> Fault:
    """A fault that answers a call with an errno: once, or from then on until it is healed."""

    def on_call(step: Step) -> CallAction:
        return CallAction("errno", errno, float(fault.option(step, "for_s")))

    for_s = Option(float, 0.0, "0: this call only; more: every such call from then on, healed after so many seconds")
    fault = Fault(name, summary, "program", (AtCall,), operations, {"for_s": for_s}, on_call=on_call)
    return fault
