"""What a Supervisor tells: one value for each call that changed something, for each fault, and for what it missed.

Times are seconds of `time.monotonic()`. The order of events is the order of answers.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Call(NamedTuple):
    """A call that was performed and changed something under the root, or a send to the broker.

    `point` is its name without a position, `worker-2/0/write:metadata/CLI1.csv#2`; `nth` counts (op, path) in this
    life. `size` is what the call asked for in bytes (0 where it has none), `result` what it returned; None for a send,
    which the kernel performs by itself.
    """

    point: str
    op: str
    path: str
    nth: int
    life: int
    pid: int
    size: int
    result: int | None
    t_s: float


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule did its work at `point` (`...#2@7` when inside); `written_bytes` really reached the file or socket."""

    rule_id: str
    point: str
    action: str
    when: str
    written_bytes: int
    t_s: float


@dataclass(frozen=True, slots=True)
class Unseen:
    """The program does something that the tap cannot follow; results of this run have that blind spot."""

    reason: str
    pid: int
    t_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The tap itself failed: the run says nothing about the program."""

    reason: str
    t_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Every process under this filter is dead or dying (wait for its pidfd to be sure that it has closed its files).

    Stop watching `Supervisor.fileno()` now: it stays readable for ever.
    """

    life: int
    t_s: float


Event = Call | Fired | Unseen | Lost | Ended
