"""What passes between an engine and a Station, both ways: orders in, reports out. Plain data that travels as JSON.

It carries the data only: when messages are sent, and over what, is the engine's matter.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, NamedTuple

from chaoskit.tap.events import Call, Ended, Event, Fired, Lost, Unseen
from chaoskit.tap.rules import Rule

_KINDS: dict[str, type[Call | Fired | Unseen | Lost | Ended]] = {
    "call": Call, "fired": Fired, "unseen": Unseen, "lost": Lost, "ended": Ended,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Order:
    """A rule that a Station carries out once in all lives of a program; one whose `times` are None lasts until healed.

    `power_loss` names the crash state (`chaoskit.tap.powerloss`) in which the files are found after the kill; None
    leaves them as they are.
    """

    rule: Rule
    power_loss: str | None = None

    @property
    def id(self) -> str:
        """The rule's."""
        return self.rule.id

    @property
    def lasts(self) -> bool:
        """Whether it goes on, in later lives too, until it is healed."""
        return self.rule.times is None

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON types; `Order.from_json` is its inverse."""
        return {"rule": self.rule.to_json(), "power_loss": self.power_loss}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Order":
        """Raises ValueError for what does not fit."""
        if set(data) != {"rule", "power_loss"}:
            raise ValueError(f"an order has rule and power_loss, not {', '.join(sorted(data))}")
        return cls(Rule.from_json(data["rule"]), data["power_loss"])


class Report(NamedTuple):
    """An event of one life of a program, and what the Station saw beside it at that moment.

    With a Call, where power loss is surveyed: `states` names the crash states after it that are less than a kill
    leaves. With a Fired on a file: `file_bytes` is its length and `tail` its last bytes (at most 256) while the
    call is held, None where there is no such file. `lossless`: the order wanted a power loss, but here its state is no
    less than what a kill leaves, so nothing will be lost.
    """

    program: str
    life: int
    event: Event
    states: tuple[str, ...] = ()
    file_bytes: int | None = None
    tail: bytes | None = None
    lossless: bool = False

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON types; `Report.from_json` is its inverse."""
        event = asdict(self.event) if is_dataclass(self.event) else self.event._asdict()
        data: dict[str, Any] = {"program": self.program, "life": self.life, _NAMES[type(self.event)]: event}
        if self.states:
            data["states"] = list(self.states)
        if self.file_bytes is not None and self.tail is not None:
            data |= {"file_bytes": self.file_bytes, "tail": base64.b64encode(self.tail).decode()}
        if self.lossless:
            data["lossless"] = True
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """Raises ValueError for an event that is not known or lacks something."""
        kind = next((kind for kind in _KINDS if kind in data), None)
        if kind is None:
            raise ValueError(f"a report has one of {', '.join(_KINDS)}, not {', '.join(sorted(data))}")
        try:
            return cls(
                str(data["program"]),
                int(data["life"]),
                _KINDS[kind](**data[kind]),
                tuple(data.get("states", ())),
                data.get("file_bytes"),
                base64.b64decode(data["tail"]) if "tail" in data else None,
                bool(data.get("lossless", False)),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"a report of {kind} does not fit: {error}") from error
