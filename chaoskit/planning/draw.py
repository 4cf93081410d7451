"""Draw a random plan from a seed and the journal of a control run. The same seed and journal give the same plan.

Every step that is drawn can happen. A kill at position p of the control run's calls leaves all the calls after p
still to be made, whatever the worker does again; so kills are drawn at increasing positions, and the next one is
named by how often its call occurs after the one before. It then fires there, or earlier when work is repeated.
"""

import math
from collections.abc import Sequence
from random import Random

from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent, Call, Message
from chaoskit.model.plan import Plan, Step
from chaoskit.model.scenario import Scalar
from chaoskit.model.triggers import AtCall, AtMessage, MessageEvent, Offset, When
from chaoskit.planning.experiments import no_crash_point

# A kill inside a write is what other tools cannot do, and random kills are few: they fall on writes and on the calls
# right beside one (create, fsync, rename). The places far from a write are for `explore`, which visits all.
_WRITE_WEIGHT, _BESIDE_WEIGHT = 3, 1
_INSIDE_SHARE = 0.6
_LATE_SHARE = 0.3
# What a recovery does is not in the control run: it is met by a kill at one of the first calls of a later life.
_EARLY_SHARE, _EARLY_CALLS = 0.2, 6
_OFFSETS: tuple[Offset, ...] = ("first", "middle", "last")


def draw(
    seed: int, events: Sequence[AnyEvent], targets: Sequence[str], kills: int, duplicates: int, each: bool = False
) -> Plan:
    """A plan of `kills` kills of `targets` and `duplicates` doubled messages to them.

    Every target is as likely to be killed, however many calls it makes; with `each` all get the same number of kills,
    the first ones one more where it does not come out even. Raises UsageError when the control run has fewer places
    than that.
    """
    calls = [e for e in events if isinstance(e, Call) and e.program in targets and e.op != "send"]
    messages = [e for e in events if isinstance(e, Message)]
    # Each kind of fault has a generator of its own, so that asking for duplicates does not move the kills.
    kill_steps = _kills(Random(f"{seed} kills"), calls, messages, targets, _shares(targets, kills, each))
    steps = (*kill_steps, *_duplicates(Random(f"{seed} duplicates"), messages, targets, duplicates))
    return Plan(seed, steps, drawn=True)


# How many kills go to which programs.
_Shares = list[tuple[tuple[str, ...], int]]


def _shares(targets: Sequence[str], kills: int, each: bool) -> _Shares:
    if not each:
        return [(tuple(targets), kills)]
    whole, rest = divmod(kills, len(targets))
    return [((target,), whole + (n < rest)) for n, target in enumerate(targets)]


def _kills(
    rng: Random, calls: Sequence[Call], messages: Sequence[Message], targets: Sequence[str], shares: _Shares
) -> list[Step]:
    if not calls:
        return _kills_at_messages(rng, messages, shares)
    weights = _weights(calls)
    positions = [p for programs, count in shares for p in _positions(rng, calls, weights, programs, count)]
    steps = []
    last: dict[str, int] = {}
    lives: dict[str, int] = {}
    for position in sorted(positions):
        call = calls[position]
        since = calls[last.get(call.program, -1) + 1 : position + 1]
        nth = sum(1 for c in since if (c.program, c.op, c.path) == (call.program, call.op, call.path))
        life = lives.get(call.program, 0)
        at = _trigger(rng, call, nth, life)
        if life and rng.random() < _EARLY_SHARE:
            at = _early(rng, len([c for c in since if c.program == call.program]), life)
        steps.append(Step("kill", call.program, at))
        last[call.program], lives[call.program] = position, life + 1
    return steps


def _positions(
    rng: Random, calls: Sequence[Call], weights: Sequence[float], programs: Sequence[str], count: int
) -> list[int]:
    """`count` different positions in `calls`, all of these programs."""
    mine = [i for i, call in enumerate(calls) if call.program in programs]
    if count and not mine:
        raise UsageError(no_crash_point(programs))
    if count > len(mine):
        of = f" of {programs[0]}" if len(programs) == 1 else ""
        raise UsageError(
            f"--kills {count}: the control run has only {len(mine)} crash points{of}; "
            "ask for fewer, or give the pipeline more to do with --set"
        )
    return [mine[n] for n in _weighted_sample(rng, [weights[i] for i in mine], count)]


def _early(rng: Random, calls: int, life: int) -> AtCall:
    """One of the first calls of a life, which are those of its recovery; `calls` are certain to come."""
    when: When = rng.choice(("before", "after"))
    return AtCall("change", "*", rng.randint(1, min(_EARLY_CALLS, calls)), when, None, life)


def _weights(calls: Sequence[Call]) -> list[float]:
    """How likely each call is to be drawn; the calls far from a write only when the others do not suffice.

    Programs weigh the same, whatever they write.
    """
    found: list[float] = [0.0] * len(calls)
    for program in dict.fromkeys(call.program for call in calls):
        mine = [i for i, call in enumerate(calls) if call.program == program]
        ops = ["", *(calls[i].op for i in mine), ""]
        for n, i in enumerate(mine):
            near = _BESIDE_WEIGHT if "write" in ops[n : n + 3] else 1e-9
            found[i] = _WRITE_WEIGHT if calls[i].op == "write" else near
        total = sum(found[i] for i in mine)
        for i in mine:
            found[i] /= total
    return found


def _weighted_sample(rng: Random, weights: Sequence[float], count: int) -> list[int]:
    """`count` different positions, drawn by weight (Efraimidis and Spirakis, "Weighted random sampling", 2006)."""
    keys = [math.log(1 - rng.random()) / weight for weight in weights]
    return sorted(range(len(weights)), key=keys.__getitem__, reverse=True)[:count]


def _trigger(rng: Random, call: Call, nth: int, life: int) -> AtCall:
    if call.op == "write" and call.size > 1 and rng.random() < _INSIDE_SHARE:
        # In later lives the write at that place may have another length, so its offset is named by meaning.
        byte: Offset = rng.randrange(1, call.size) if life == 0 else rng.choice(_OFFSETS)
        return AtCall(call.op, call.path, nth, "inside", byte, life)
    when: When = rng.choice(("before", "after"))
    return AtCall(call.op, call.path, nth, when, None, life)


def _kills_at_messages(rng: Random, messages: Sequence[Message], shares: _Shares) -> list[Step]:
    """Where no tap counts calls, kills fall on deliveries to the target and on its acknowledgements."""
    return [step for programs, count in shares for step in _some_at_messages(rng, messages, programs, count)]


def _some_at_messages(rng: Random, messages: Sequence[Message], targets: Sequence[str], count: int) -> list[Step]:
    kinds: tuple[MessageEvent, ...] = ("delivered", "acked")
    places = [
        (m.program, AtMessage(kind, m.queue, m.nth))
        for m in messages
        for kind in kinds
        if m.kind == kind and m.program in targets
    ]
    if count and not places:
        raise UsageError(no_crash_point(targets))
    if count > len(places):
        raise UsageError(
            f"--kills {count}: the control run shows only {len(places)} messages of the target; ask for fewer"
        )
    chosen = sorted(rng.sample(range(len(places)), count))
    return [Step("kill", *places[i]) for i in chosen]


def _duplicates(rng: Random, messages: Sequence[Message], targets: Sequence[str], count: int) -> list[Step]:
    queues = {m.queue for m in messages if m.kind == "delivered" and m.program in targets}
    places = [m for m in messages if m.kind == "published" and m.queue in queues and not m.injected]
    if count and not places:
        raise UsageError("--duplicates: the control run shows no message to the target; drop it, or name a plan")
    drawn: dict[int, int] = {}
    for _ in range(count):
        # A message that is drawn again gets one more copy: a run has as many copies as were asked for.
        chosen = rng.randrange(len(places))
        drawn[chosen] = drawn.get(chosen, 0) + 1
    return [_duplicate(places[i], rng.random() < _LATE_SHARE, copies) for i, copies in sorted(drawn.items())]


def _duplicate(message: Message, late: bool, copies: int) -> Step:
    options: dict[str, Scalar] = {}
    if late:
        options["late"] = True
    if copies > 1:
        options["copies"] = copies
    return Step("duplicate", message.queue, AtMessage("published", message.queue, message.nth), options)
