"""The taps of a run: one supervisor a life of a target, fed with the steps at calls, heard as events."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from chaoskit import tap
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.starting import Starter
from chaoskit.faults import TABLE, CallAction
from chaoskit.model.events import Call, EnvironmentLost, FaultFired, Flag
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall
from chaoskit.runtime.base import Launch

_TAIL_BYTES = 256


class Taps:
    """Starts programs, the targets under the tap. `broker` and `root` say, for a program, what is watched.

    `others_still` keeps those who share a program's directory from looking into it while it changes.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        executor: Executor,
        broker: Callable[[str], tuple[str, int]],
        root: Callable[[str], Path],
        starter: Starter,
        others_still: Callable[[str], AbstractContextManager[None]],
        targets: Collection[str],
        surveyed: bool = False,
    ) -> None:
        self._pipeline, self._executor = pipeline, executor
        self._broker, self._root = broker, root
        self._starter, self._others_still, self._targets = starter, others_still, targets
        # A child that escaped can outlive its program, so an old life's tap may end after the next life began.
        self._supervisors: dict[tuple[str, int], tap.Supervisor] = {}
        self._lasting: set[int] = set()
        self._surveyed = surveyed
        self._cuts = surveyed or any(call_action(step).power_loss for _, step in executor.call_steps())
        self._shadows: dict[Path, tap.Shadow] = {}
        self._to_lose: dict[str, tap.CrashState] = {}
        pipeline.before_restart = self._lose

    def spawn(self, launch: Launch) -> int:
        """Start a launch; a target is started under the tap, its calls answered in this loop."""
        pid, listener_fd = self._starter(launch, launch.program in self._targets)
        if listener_fd is not None:
            self._supervise(launch, listener_fd)
        return pid

    def _supervise(self, launch: Launch, listener_fd: int) -> None:
        program = launch.program
        supervisor = tap.Supervisor(
            listener_fd,
            program=program,
            root=self._root(program),
            life=launch.life,
            rules=self._rules(program),
            on_event=lambda event: self._on_event(program, event),
            broker=self._broker(program),
            shadow=self._shadow(program),
        )
        self._supervisors[program, launch.life] = supervisor
        asyncio.get_running_loop().add_reader(supervisor.fileno(), supervisor.step)

    def _shadow(self, program: str) -> tap.Shadow | None:
        """What is durable of the program's data directory, over all its lives; only where a power loss needs it."""
        root = self._root(program)
        if self._cuts and root not in self._shadows:
            self._shadows[root] = tap.Shadow(root)
        return self._shadows.get(root)

    def _lose(self, program: str) -> None:
        """The power was cut when the last life ended: before the next one, the files are what the disk kept."""
        state = self._to_lose.pop(program, None)
        if state is not None:
            with self._others_still(program):
                self._shadows[self._root(program)].apply(state)

    def _rules(self, program: str) -> list[tap.Rule]:
        steps = [(i, step) for i, step in self._executor.call_steps() if step.target == program]
        waiting = [_rule(i, step) for i, step in steps if i in self._executor.outstanding]
        # A fault that lasts has fired in an earlier life; in this one it meets every such call from the first on.
        going_on = [replace(_rule(i, step), nth=1, life=None) for i, step in steps if i in self._lasting]
        return waiting + going_on

    def _on_event(self, program: str, event: tap.Event) -> None:
        pipeline = self._pipeline
        if isinstance(event, tap.Call):
            self._call(program, event)
        elif isinstance(event, tap.Fired):
            self._fired(program, event)
        elif isinstance(event, tap.Unseen):
            pipeline.emit(Flag(pipeline.now_s(event.t_s), program, event.reason))
        elif isinstance(event, tap.Lost):
            pipeline.emit(EnvironmentLost(pipeline.now_s(event.t_s), f"the tap of {program}", event.reason))
        elif isinstance(event, tap.Ended):
            self._forget((program, event.life))

    def _call(self, program: str, event: tap.Call) -> None:
        # What a program does while it is stopped at the end of a run is no crash point of the run.
        if not self._pipeline.stopping:
            t_s = self._pipeline.now_s(event.t_s)
            result = event.result or 0
            states = self._losses(program) if self._surveyed else ()
            self._pipeline.emit(
                Call(t_s, program, event.life, event.op, event.path, event.nth, event.size, result, states)
            )

    def _losses(self, program: str) -> tuple[str, ...]:
        """The states in which a power cut now would leave less than a kill does."""
        return tuple(s.name for s in self._shadows[self._root(program)].crash_states() if not s.lossless)

    def _fired(self, program: str, event: tap.Fired) -> None:
        index = int(event.rule_id)
        if index not in self._executor.outstanding:
            return
        action = call_action(self._executor.plan.steps[index])
        if action.power_loss and not self._cut(program, action.power_loss):
            reason = f"at {event.point} a power loss with {action.power_loss} kept is no more than a kill"
            self._executor.failed(index, reason)
            return
        if action.for_s:
            self._lasting.add(index)
            self._pipeline.later(action.for_s, lambda: self._heal(index))
        written = event.written_bytes if event.when == "inside" else None
        size, tail = self._file_now(program, event.point)
        t_s = self._pipeline.now_s(event.t_s)
        self._executor.call_fired(index, FaultFired(t_s, index, event.point, written, size, tail))

    def _cut(self, program: str, wanted: str) -> bool:
        """Note the state that the disk is to be in before the next life; False when there is no such state here."""
        states = self._shadows[self._root(program)].crash_states()
        state = next((s for s in states if s.name == wanted), None)
        if state is None or state.lossless:
            return False
        self._to_lose[program] = state
        return True

    def _heal(self, index: int) -> None:
        self._lasting.discard(index)
        for supervisor in self._supervisors.values():
            supervisor.heal(str(index))

    def _file_now(self, program: str, point: str) -> tuple[int | None, bytes | None]:
        """Length and last bytes of the file that a point names, as they are while the call is held."""
        relative = point.split(":", 1)[1].rsplit("#", 1)[0]
        try:
            with open(self._root(program) / relative, "rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL_BYTES))
                return size, file.read()
        except OSError:
            return None, None

    def _forget(self, life: tuple[str, int]) -> None:
        supervisor = self._supervisors.pop(life, None)
        if supervisor is not None:
            asyncio.get_running_loop().remove_reader(supervisor.fileno())
            supervisor.close()

    def close(self) -> None:
        for life in list(self._supervisors):
            self._forget(life)


def call_action(step: Step) -> CallAction:
    """What the tap does for a step at a call."""
    on_call = TABLE[step.fault].on_call
    assert on_call is not None, f"{step.fault} takes no call"
    return on_call(step)


def _rule(index: int, step: Step) -> tap.Rule:
    at, action = step.at, call_action(step)
    assert isinstance(at, AtCall)
    return tap.Rule(
        id=str(index),
        op=at.op,
        path=at.path,
        nth=at.nth,
        when=at.when,
        byte=at.byte,
        life=at.life,
        action=action.kind,
        errno=action.errno,
        times=None if action.for_s else 1,
    )
