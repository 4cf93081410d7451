"""The executor: carries out a plan on a pipeline. Each step waits for its trigger at the place that can see it.

Steps at calls are answered by the tap (`call_steps` says which, `call_fired` hears back), steps at messages by the
proxies (`on_message`), the others here. A step fires once.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping

import msgspec

from chaoskit.engine.pipeline import Pipeline
from chaoskit.faults import Fault, MessageAction
from chaoskit.model.events import AnyEvent, FaultFailed, FaultFired, LogLine, Message
from chaoskit.model.plan import Plan, Step
from chaoskit.model.triggers import AtCall, AtIntervals, AtLog, AtMessage, AtTime
from chaoskit.planning.schedule import Moment, moments


class _LogWatch:
    """A step that waits for the n-th matching line of `program`, or the first after it that finds the target alive.

    A fault on the broker, which prints no line that we see, waits for one of any program (None).
    """

    def __init__(self, index: int, program: str | None, at: AtLog) -> None:
        self.index, self.program = index, program
        self._pattern, self._left = re.compile(at.pattern), at.nth

    def hit(self, event: LogLine) -> bool:
        if self.program in (None, event.program) and self._pattern.search(event.text):
            self._left -= 1
            return self._left <= 0
        return False


class Executor:
    """One plan on one pipeline. `outstanding` holds the indexes of the steps that have not happened.

    A step that recurs is never outstanding: it happens for as long as there is something to judge.
    """

    def __init__(self, pipeline: Pipeline, plan: Plan, table: Mapping[str, Fault]) -> None:
        self.pipeline, self.plan, self._table = pipeline, plan, table
        self.outstanding = {i for i, step in enumerate(plan.steps) if not isinstance(step.at, AtIntervals)}
        self._logs = [
            _LogWatch(i, None if self._is_on_broker(step) else step.target, step.at)
            for i, step in enumerate(plan.steps)
            if isinstance(step.at, AtLog)
        ]
        self._messages = [(i, s.at) for i, s in enumerate(plan.steps) if isinstance(s.at, AtMessage)]
        self._timers: list[asyncio.TimerHandle] = []
        self._recurring: dict[int, asyncio.TimerHandle] = {}
        # Whoever carries out steps elsewhere is told here that none is to happen any more.
        self.at_stop: Callable[[], None] = lambda: None

    def _is_on_broker(self, step: Step) -> bool:
        return self._table[step.fault].target == "broker"

    def _is_there(self, step: Step) -> bool:
        """Whether what the step is to hurt is up, and not being hurt already."""
        return not self._missing(step)

    def _missing(self, step: Step) -> str:
        """What there ought to be for the step and is not, or is hurt already; empty when all is there."""
        connections = self.pipeline.connections
        if self._is_on_broker(step):
            return "" if connections.broker_up() else f"{step.target} was not running"
        if not self.pipeline.alive(step.target):
            return f"{step.target} was not running"
        breaks = self._table[step.fault].breaks
        if breaks == "connection" and not connections.connected(step.target):
            return f"{step.target} had no connection to the broker"
        if breaks == "network" and connections.cut_off(step.target):
            return f"{step.target} was without a network already"
        return ""

    def call_steps(self) -> list[tuple[int, Step]]:
        """The steps that the tap has to carry out."""
        return [(i, step) for i, step in enumerate(self.plan.steps) if isinstance(step.at, AtCall)]

    def start_clock(self) -> None:
        """The pipeline is ready: steps at a time count from now."""
        loop = asyncio.get_running_loop()
        for i, step in enumerate(self.plan.steps):
            if isinstance(step.at, AtTime):
                self._timers.append(loop.call_later(step.at.time_s, self._act, i, f"{step.target} {step.at}"))
            elif isinstance(step.at, AtIntervals):
                targets = (step.target,) if self._is_on_broker(step) else self.pipeline.scenario.select(step.target)
                schedule = moments(self.plan, i, targets)
                self._at_next(i, schedule, loop.time())

    def _at_next(self, i: int, schedule: Iterator[Moment], ready_at: float) -> None:
        """Wait for the next moment of step `i`, and after it for the one after it."""
        moment = next(schedule, None)
        if moment is None:
            return

        def act() -> None:
            self._recur(i, moment)
            self._at_next(i, schedule, ready_at)

        self._recurring[i] = asyncio.get_running_loop().call_at(ready_at + moment.t_s, act)

    def _recur(self, i: int, moment: Moment) -> None:
        """Do step `i` to the program whose turn it is; one that is dead just then is left out."""
        step = msgspec.structs.replace(self.plan.steps[i], target=moment.target)
        act = self._table[step.fault].act
        if act is not None and self._is_there(step):
            act(step, self.pipeline)
            point = f"{moment.target} {moment.t_s:.3f} s after the pipeline is ready"
            self.pipeline.emit(FaultFired(self.pipeline.now_s(), i, point, target=moment.target))

    def calm(self) -> None:
        """What recurs does not any more: there is nothing left to hurt, and the files are about to be judged."""
        for timer in self._recurring.values():
            timer.cancel()
        self._recurring.clear()

    def timed_outstanding(self) -> bool:
        """Whether a step still waits for its time, so that quiet does not mean the end."""
        return any(isinstance(self.plan.steps[i].at, AtTime) for i in self.outstanding)

    def stop(self) -> None:
        """Nothing fires any more."""
        self.outstanding.clear()
        self.at_stop()
        self.calm()
        for timer in self._timers:
            timer.cancel()

    def on_event(self, event: AnyEvent) -> None:
        """Fire the steps that wait for this line."""
        if isinstance(event, LogLine):
            for watch in self._logs:
                hit = watch.index in self.outstanding and watch.hit(event)
                if hit and self._is_there(self.plan.steps[watch.index]):
                    self._act(watch.index, f"{event.program}/{event.life}/log:{event.text}")

    def on_message(self, event: Message) -> MessageAction | None:
        """Fire the steps that wait for this message, while it is held; what the proxy is to do with it."""
        action: MessageAction | None = None
        for i, at in self._messages:
            if i in self.outstanding and not event.injected and (at.event, at.queue) == (event.kind, event.queue):
                action = self._at_message(i, at.nth, event, action)
        return action

    def _at_message(self, i: int, nth: int, event: Message, action: MessageAction | None) -> MessageAction | None:
        """Fire step `i` if this is its message; what the proxy is to do, `action` being what it was to do so far."""
        step = self.plan.steps[i]
        on_message = self._table[step.fault].on_message
        point = f"{event.program}/{event.kind}:{event.queue}#{event.nth}"
        if on_message is None:
            # What a dying program still had under way passes by; a second kill of it would be no kill.
            if event.nth >= nth and self._is_there(step):
                self._act(i, point)
        elif event.nth == nth and action is not None:
            self.failed(i, f"another step already has the message at {point}")
        elif event.nth == nth:
            self._fired(i, point, f"message {event.id}" if event.id else "")
            return on_message(step)
        return action

    def call_fired(self, i: int, fired: FaultFired) -> None:
        """The tap has carried out step `i`."""
        self.outstanding.discard(i)
        step = self.plan.steps[i]
        fault = self._table[step.fault]
        if fault.kills:
            grace_s = float(fault.option(step, "grace_s")) if "grace_s" in fault.options else None
            # A tap kills a process that it holds; a signal at a message may come after the program's own end.
            late = grace_s is None and not isinstance(step.at, AtCall)
            self.pipeline.hurts(step.target, bool(step.options.get("restart", True)), grace_s, may_be_late=late)
        self.pipeline.emit(fired)

    def failed(self, i: int, reason: str) -> None:
        """Step `i` was reached and could not be carried out; a program that it killed is started again all the same."""
        self.outstanding.discard(i)
        step = self.plan.steps[i]
        if self._table[step.fault].kills:
            self.pipeline.hurts(step.target)
        self.pipeline.emit(FaultFailed(self.pipeline.now_s(), i, reason))

    def act_now(self, i: int, point: str) -> None:
        """Whoever sees messages elsewhere saw the one that step `i` waits for, at `point`."""
        self._act(i, point)

    def _act(self, i: int, point: str) -> None:
        step = self.plan.steps[i]
        act = self._table[step.fault].act
        if i not in self.outstanding or act is None:
            return
        if missing := self._missing(step):
            self.failed(i, f"{missing} at {point}")
            return
        act(step, self.pipeline)
        self._fired(i, point)

    def _fired(self, i: int, point: str, detail: str = "") -> None:
        self.outstanding.discard(i)
        self.pipeline.emit(FaultFired(self.pipeline.now_s(), i, point, detail=detail))
