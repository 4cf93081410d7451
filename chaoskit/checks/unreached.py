"""Why a step never fired: what the run had in place of what it waited for, and so what to change in the plan."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from re import compile as compile_pattern

from chaoskit.model.events import AnyEvent, Call, LogLine, Message, Ready
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall, AtIntervals, AtLog, AtMessage, AtTime

_SHOWN = 5
_SHOWN_CHARACTERS = 60


def why_unreached(step: Step, events: Sequence[AnyEvent]) -> str:
    """One line: that the point was not reached, and what there was instead."""
    match step.at:
        case AtCall():
            what = _calls(step, step.at, events)
        case AtLog():
            what = _lines(step.target, step.at, events)
        case AtMessage():
            what = _messages(step.at, events)
        case AtTime() | AtIntervals():
            return _time(step.at, events)
    return f"the point was not reached: {what}"


def _calls(step: Step, at: AtCall, events: Sequence[AnyEvent]) -> str:
    program = step.target
    calls = [e for e in events if isinstance(e, Call) and e.program == program]
    if at.life is not None:
        calls = [e for e in calls if e.life == at.life]
    of_op = [e for e in calls if at.op in (e.op, "change") and not (at.op == "change" and e.op == "send")]
    matching = [e for e in of_op if fnmatchcase(e.path, at.path)]
    lives = Counter(e.life for e in matching)
    if short := _too_short(step.fault, at, matching):
        return short
    life = "" if at.life is None else f" in life {at.life}"
    if lives and max(lives.values()) >= at.nth:
        return f"{at.op} {at.path} #{at.nth} came only while its life, or the run, was ending"
    if lives:
        return f"{at.op} {at.path} came {max(lives.values())} times{life or ' in one life'}, not {at.nth}"
    if of_op:
        return f"no {at.op} on {at.path}{life}, only on {_some(e.path for e in of_op)}"
    seen = _some(e.op for e in calls)
    return f"{program} made no {at.op}{life}" + (f", only {seen}" if seen else ", nor any other call that was seen")


def _too_short(fault: str, at: AtCall, matching: Sequence[Call]) -> str:
    """That the write, in each life that had it, has no such byte; '' when that is not why."""
    if not isinstance(at.byte, int):
        return ""
    by_life = ([e for e in matching if e.life == life] for life in dict.fromkeys(e.life for e in matching))
    sizes = [calls[at.nth - 1].size for calls in by_life if len(calls) >= at.nth]
    # A write that takes all of its bytes has not been short.
    if not sizes or max(sizes) > at.byte or (max(sizes) == at.byte and fault != "short-write"):
        return ""
    size = max(sizes)
    return f"that write has only {size} byte{'' if size == 1 else 's'}"


def _lines(program: str, at: AtLog, events: Sequence[AnyEvent]) -> str:
    lines = [e.text for e in events if isinstance(e, LogLine) and e.program == program]
    pattern = compile_pattern(at.pattern)
    count = sum(1 for line in lines if pattern.search(line))
    if count >= at.nth:
        return "the line came, and what was to be hurt was not there to be hurt, or was hurt already"
    if count:
        return f"{count} lines of {program} match, not {at.nth}"
    if not lines:
        return f"{program} printed nothing: does it buffer its output?"
    return f"none of the {len(lines)} lines of {program} matches; the last one: {lines[-1][:_SHOWN_CHARACTERS]!r}"


def _messages(at: AtMessage, events: Sequence[AnyEvent]) -> str:
    seen = [e for e in events if isinstance(e, Message) and e.kind == at.event and not e.injected]
    count = sum(1 for e in seen if e.queue == at.queue)
    if count:
        return f"{count} messages were {at.event} ({at.queue}), not {at.nth}"
    queues = _some(e.queue for e in seen if e.queue)
    return f"no message was {at.event} ({at.queue})" + (f", only of {queues}" if queues else ", nor any other")


def _time(at: AtTime | AtIntervals, events: Sequence[AnyEvent]) -> str:
    ready_s = next((e.t_s for e in events if isinstance(e, Ready)), events[-1].t_s)
    over_s = events[-1].t_s - ready_s
    change = "shorten the time between" if isinstance(at, AtIntervals) else "name an earlier time"
    return (
        f"the run was over {over_s:.1f} s after it was ready, before it came to that: {change}, or give the pipeline "
        "more to do with --set"
    )


def _some(names: Iterable[str]) -> str:
    """The most frequent of these names, in words."""
    counts = Counter(names)
    shown = [name for name, _ in counts.most_common(_SHOWN)]
    return ", ".join(shown) + (f" and {len(counts) - len(shown)} more" if len(counts) > len(shown) else "")
