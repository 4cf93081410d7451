"""The taps of a run: one supervisor a life of a target, fed with the steps at calls, heard as events."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from chaoskit import tap
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.starting import Starter
from chaoskit.faults import TABLE
from chaoskit.model.events import Call, EnvironmentLost, FaultFired, Flag
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall
from chaoskit.runtime.base import Launch

_TAIL_BYTES = 256


class Taps:
    """Starts programs, the targets under the tap. `broker` and `root` say, for a program, what is watched."""

    def __init__(
        self,
        pipeline: Pipeline,
        executor: Executor,
        broker: Callable[[str], tuple[str, int]],
        root: Callable[[str], Path],
        starter: Starter,
        targets: Collection[str],
    ) -> None:
        self._pipeline, self._executor = pipeline, executor
        self._broker, self._root = broker, root
        self._starter, self._targets = starter, targets
        self._supervisors: dict[str, tap.Supervisor] = {}

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
        )
        self._supervisors[program] = supervisor
        asyncio.get_running_loop().add_reader(supervisor.fileno(), supervisor.step)

    def _rules(self, program: str) -> list[tap.Rule]:
        left = ((i, s) for i, s in self._executor.call_steps() if i in self._executor.outstanding)
        return [_rule(i, step) for i, step in left if step.target == program]

    def _on_event(self, program: str, event: tap.Event) -> None:
        pipeline = self._pipeline
        if isinstance(event, tap.Call):
            self._call(program, event)
        elif isinstance(event, tap.Fired):
            self._executor.call_fired(int(event.rule_id), self._fired(program, event))
        elif isinstance(event, tap.Unseen):
            pipeline.emit(Flag(pipeline.now_s(event.t_s), program, event.reason))
        elif isinstance(event, tap.Lost):
            pipeline.emit(EnvironmentLost(pipeline.now_s(event.t_s), f"the tap of {program}", event.reason))
        elif isinstance(event, tap.Ended):
            self._forget(program)

    def _call(self, program: str, event: tap.Call) -> None:
        # What a program does while it is stopped at the end of a run is no crash point of the run.
        if not self._pipeline.stopping:
            t_s = self._pipeline.now_s(event.t_s)
            result = event.result or 0
            self._pipeline.emit(Call(t_s, program, event.life, event.op, event.path, event.nth, event.size, result))

    def _fired(self, program: str, event: tap.Fired) -> FaultFired:
        written = event.written_bytes if event.when == "inside" else None
        size, tail = self._file_now(program, event.point)
        return FaultFired(self._pipeline.now_s(event.t_s), int(event.rule_id), event.point, written, size, tail)

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

    def _forget(self, program: str) -> None:
        supervisor = self._supervisors.pop(program, None)
        if supervisor is not None:
            asyncio.get_running_loop().remove_reader(supervisor.fileno())
            supervisor.close()

    def close(self) -> None:
        for program in list(self._supervisors):
            self._forget(program)


def _rule(index: int, step: Step) -> tap.Rule:
    at, on_call = step.at, TABLE[step.fault].on_call
    assert isinstance(at, AtCall) and on_call is not None
    action = on_call(step)
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
        times=action.times,
    )
