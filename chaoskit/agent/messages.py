"""The steps of a plan that wait for a message: which one is due, and what the proxy is to do with it. Pure.

The engine's executor decides in the same way for proxies of its own; here the decision has to be made beside the
proxy, while the message is held.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from chaoskit.proxy import FORWARD, Action, Cut, Delay, Drop, Duplicate, Seen

# Kill the broker, know that it is about to end, let nothing of the target through, break its connections.
First = Literal["", "kill-broker", "broker", "disconnect", "cut"]
_ON_BROKER = ("kill-broker", "broker")


@dataclass(frozen=True, slots=True)
class MessageStep:
    """One step: the `nth` message (`event` on `queue`) and what happens to it.

    `kind` is what the proxy does (duplicate, delay, cut, drop). Without one, `target` is acted on: by the `signal`,
    sent while the message is held, or (0) by the engine, a little later; `first` is what is done at once even then.
    """

    index: int
    event: str
    queue: str
    nth: int
    target: str
    kind: str | None = None
    signal: int = 0
    first: First = ""
    copies: int = 1
    late: bool = False
    seconds: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MessageStep":
        """Raises TypeError for fields that do not fit."""
        return cls(**data)

    def action(self) -> Action:
        """What the proxy does."""
        made: dict[str | None, Callable[[], Action]] = {
            "duplicate": lambda: Duplicate(self.copies, self.late),
            "delay": lambda: Delay(self.seconds),
            "cut": lambda: Cut(before=False),
            "drop": Drop,
        }
        return made[self.kind]()


class Decision(NamedTuple):
    """What is to be done with a message, and what became of the steps that waited for it."""

    action: Action
    due: tuple[MessageStep, ...] = ()
    fired: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()


class MessageSteps:
    """The steps that have not happened yet.

    `alive` says whether a program is running, `there` whether what else a step hurts (the broker, a connection, a
    network) is there and not being hurt already.
    """

    def __init__(
        self,
        steps: list[MessageStep],
        alive: Callable[[str], bool],
        there: Callable[[MessageStep], bool] = lambda step: True,
    ) -> None:
        self._waiting = {step.index: step for step in steps}
        self._alive, self._there = alive, there

    def _is_there(self, step: MessageStep) -> bool:
        return (step.first in _ON_BROKER or self._alive(step.target)) and self._there(step)

    def cancel(self) -> None:
        """None of them is to happen any more."""
        self._waiting.clear()

    def decide(self, seen: Seen) -> Decision:
        """The steps whose message this is leave; a copy of chaoskit's own is nobody's message."""
        if seen.injected:
            return Decision(FORWARD)
        action: Action | None = None
        due: list[MessageStep] = []
        fired: list[int] = []
        failed: list[int] = []
        for step in list(self._waiting.values()):
            if (step.event, step.queue) != (seen.kind, seen.queue):
                continue
            if step.kind is None:
                # What a dying program still had under way passes by; a second kill of it would be no kill.
                if seen.nth >= step.nth and self._is_there(step):
                    due.append(step)
            elif seen.nth == step.nth:
                (failed if action else fired).append(step.index)
                action = action or step.action()
        for index in (*(step.index for step in due), *fired, *failed):
            del self._waiting[index]
        return Decision(action or FORWARD, tuple(due), tuple(fired), tuple(failed))
