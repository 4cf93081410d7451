"""Events: what happened in a run, in order. The journal is a file of these, one JSON object a line.

Each event is a small struct with its time `t_s` in seconds since the run began and a tag `type`. Readers must
ignore types that they do not know (`decode` gives None), so that an old chaoskit can read a new journal.
"""

from typing import Literal, TypeAlias

import msgspec

from chaoskit.model.plan import Plan
from chaoskit.model.scenario import Scenario


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """What all events share."""

    t_s: float


class RunStarted(Event, frozen=True, tag="run-started"):
    """First line: everything needed to judge the journal later. `tap` says why there is none ('' = it works)."""

    chaoskit: str
    scenario: Scenario
    plan: Plan
    runtime: str
    started: str
    control: bool = False
    tap: str = ""


class ProgramStarted(Event, frozen=True, tag="started"):
    """A life of a program begins. `after_s` is the time since its last death, None for the first life."""

    program: str
    life: int
    pid: int
    after_s: float | None = None


class ProgramExited(Event, frozen=True, tag="exited"):
    """A life ended: `code` as the shell counts (negative: minus the signal). `hurt`: chaoskit did it."""

    program: str
    life: int
    code: int
    hurt: bool = False
    stopping: bool = False


class Ready(Event, frozen=True, tag="ready"):
    """Every program was started and every consumer consumes."""


class LogLine(Event, frozen=True, tag="log"):
    """A line of a program's output, without its newline; undecodable bytes replaced, cut at 4 KiB."""

    program: str
    life: int
    text: str


class LogsCut(Event, frozen=True, tag="logs-cut"):
    """From here on, lines of this program are only in its log file: it floods."""

    program: str
    after_lines: int


class Call(Event, frozen=True, tag="call"):
    """A system call of the target that changed something; `result` is what the target was told.

    `states` names the power-loss states after the call that differ, where an exploration asked for them.
    """

    program: str
    life: int
    op: str
    path: str
    nth: int
    size: int = 0
    result: int = 0
    states: tuple[str, ...] = ()


class Message(Event, frozen=True, tag="message"):
    """A message seen by a proxy: published, delivered, acked, rejected, returned... `nth` counts (kind, queue)."""

    program: str
    kind: str
    queue: str
    nth: int
    id: str = ""
    size: int = 0
    redelivered: bool = False
    injected: bool = False


class FaultFired(Event, frozen=True, tag="fault"):
    """Step `step` (an index into the plan) happened; `point` names where, exactly.

    `target` is who was hurt where the step leaves it open. At a call on a file, `file_bytes` is the file's length at
    that moment and `tail` its last bytes.
    """

    step: int
    point: str
    written_bytes: int | None = None
    file_bytes: int | None = None
    tail: bytes | None = None
    detail: str = ""
    target: str = ""


class FileLater(Event, frozen=True, tag="file-later"):
    """The file that step `step` fell on, as it was later: after its first change in a later life, or at the end.

    `file_bytes` is its length (None: it is gone), `data` what it holds from byte `offset` on, where the fault's `tail`
    began; of a long file only the beginning of that.
    """

    step: int
    offset: int
    file_bytes: int | None = None
    data: bytes = b""
    ended: bool = False


class FaultFailed(Event, frozen=True, tag="fault-failed"):
    """Step `step` was reached and could not be carried out."""

    step: int
    reason: str


class EnvironmentLost(Event, frozen=True, tag="environment-lost"):
    """Something that chaoskit itself provides went away without being hurt: the broker, the tap, a proxy."""

    what: str
    reason: str


class BrokerState(Event, frozen=True, tag="broker"):
    """A fault has taken the broker down, or it answers again. `queues` has how many messages each queue holds then.

    Messages that are delivered and not acknowledged count too. A queue that is not named is not there.
    """

    up: bool
    queues: dict[str, int] = {}


class NetworkState(Event, frozen=True, tag="network"):
    """A fault has taken the program's network away, or it has it again."""

    program: str
    up: bool


class Flag(Event, frozen=True, tag="flag"):
    """Something that limits what the run can claim, such as a shared mapping that the tap cannot see."""

    program: str
    reason: str


EndReason = Literal["complete", "timeout", "quiet", "interrupted", "restart-loop", "error"]


class RunEnded(Event, frozen=True, tag="run-ended"):
    """Last line. `waited_for` says what had not come when the run was given up."""

    reason: EndReason
    waited_for: str = ""
    waited_s: float = 0


AnyEvent: TypeAlias = (
    RunStarted
    | ProgramStarted
    | ProgramExited
    | Ready
    | LogLine
    | LogsCut
    | Call
    | Message
    | FaultFired
    | FileLater
    | FaultFailed
    | EnvironmentLost
    | BrokerState
    | NetworkState
    | Flag
    | RunEnded
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


def encode(event: AnyEvent) -> bytes:
    """One line of JSON, without the newline."""
    return _encoder.encode(event)


def decode(line: bytes) -> AnyEvent | None:
    """The event of a line, None for a type that this version does not know.

    Raises msgspec.DecodeError or ValueError when the line is not a whole event (a torn last line, for instance).
    """
    try:
        event: AnyEvent = _decoder.decode(line)
        return event
    except msgspec.ValidationError as e:
        if "Invalid value" in str(e) and str(e).endswith("`$.type`"):
            return None
        raise
