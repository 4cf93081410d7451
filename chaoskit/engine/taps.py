"""The taps of a run, from the engine's side: steps become a station's orders, its reports become events of the run.

`Liaison` is all that an engine needs to talk to a station, wherever that is. `Taps` has one on this machine, beside the
programs that it starts.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path

from chaoskit import tap
from chaoskit.agent.revisits import read_below
from chaoskit.engine.aftermath import Aftermath
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.starting import Starter
from chaoskit.faults import TABLE, CallAction
from chaoskit.model.events import Call, EnvironmentLost, FaultFired, Flag
from chaoskit.model.plan import Step
from chaoskit.model.triggers import AtCall
from chaoskit.runtime.base import Launch


class Liaison:
    """Tells a station what a plan wants of it, and the executor and the pipeline what came of it.

    `heal` gets the order that has lasted long enough; `time_s` turns the station's clock into seconds of the pipeline.
    `aftermath` looks at files that a fault fell on once more, where they can be read.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        executor: Executor,
        heal: Callable[[str], None],
        time_s: Callable[[float], float] | None = None,
        aftermath: Aftermath | None = None,
    ) -> None:
        self._pipeline, self._executor, self._heal = pipeline, executor, heal
        self._time_s = time_s or pipeline.now_s
        self._aftermath = aftermath
        self._cut: set[str] = set()

    @property
    def powered(self) -> bool:
        """Whether the plan has a power loss, so that the station has to follow what is durable."""
        return any(call_action(step).power_loss for _, step in self._executor.call_steps())

    def orders(self, program: str) -> list[tap.Order]:
        """What the program's next life is to meet."""
        steps = [(i, step) for i, step in self._executor.call_steps() if step.target == program]
        drawn = self._executor.plan.drawn
        return [_order(i, step, drawn) for i, step in steps if i in self._executor.outstanding]

    def power_was_cut(self, program: str) -> bool:
        """Whether the last life ended with a power loss, so that the station has to `lose`; asked once a restart."""
        cut = program in self._cut
        self._cut.discard(program)
        return cut

    def hear(self, report: tap.Report) -> None:
        """Act on a report: the executor hears of a fault before anything else happens."""
        pipeline, program, event = self._pipeline, report.program, report.event
        if isinstance(event, tap.Call):
            self._call(report, event)
        elif isinstance(event, tap.Fired):
            self._fired(report, event)
        elif isinstance(event, tap.Unseen):
            pipeline.emit(Flag(self._time_s(event.t_s), program, event.reason))
        elif isinstance(event, tap.Lost):
            pipeline.emit(EnvironmentLost(self._time_s(event.t_s), f"the tap of {program}", event.reason))

    def _call(self, report: tap.Report, event: tap.Call) -> None:
        # What a program does while it is stopped at the end of a run is no crash point of the run.
        if not self._pipeline.stopping:
            t_s, result = self._time_s(event.t_s), event.result or 0
            place = event.op, event.path, event.nth
            self._pipeline.emit(Call(t_s, report.program, event.life, *place, event.size, result, report.states))
            if self._aftermath is not None and event.op != "fsync":
                self._aftermath.changed(report.program, event.life, event.path)

    def _fired(self, report: tap.Report, event: tap.Fired) -> None:
        index = int(event.rule_id)
        if index not in self._executor.outstanding:
            return
        action = call_action(self._executor.plan.steps[index])
        if action.power_loss and report.lossless:
            reason = f"at {event.point} a power loss with {action.power_loss} kept is no more than a kill"
            self._executor.failed(index, reason)
            return
        if action.power_loss:
            self._cut.add(report.program)
        if action.for_s:
            self._pipeline.later(action.for_s, lambda: self._heal(event.rule_id))
        written = event.written_bytes if event.when == "inside" else None
        t_s = self._time_s(event.t_s)
        fault = FaultFired(t_s, index, event.point, written, report.file_bytes, report.tail)
        self._executor.call_fired(index, fault)
        if self._aftermath is not None:
            self._aftermath.fired(fault)


class Taps:
    """Starts programs, the targets under the tap. `broker` and `root` say, for a program, what is watched.

    `others_still` keeps those who share a program's directory from looking into it while it changes.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        executor: Executor,
        broker: Callable[[str], tuple[str, int] | None],
        root: Callable[[str], Path],
        starter: Starter,
        others_still: Callable[[str], AbstractContextManager[None]],
        targets: Collection[str],
        surveyed: bool = False,
    ) -> None:
        self._broker, self._root = broker, root
        self._starter, self._others_still, self._targets = starter, others_still, targets
        self._aftermath = Aftermath(
            lambda program, path, offset: read_below(root(program), path, offset), pipeline.emit, pipeline.now_s
        )
        self._liaison = Liaison(pipeline, executor, self._heal, aftermath=self._aftermath)
        loop = asyncio.get_running_loop()
        self._station = tap.Station(
            self._liaison.hear,
            loop.add_reader,
            loop.remove_reader,
            surveyed=surveyed,
            powered=self._liaison.powered,
        )
        pipeline.before_restart = self._lose

    def spawn(self, launch: Launch) -> int:
        """Start a launch; a target is started under the tap, its calls answered in this loop."""
        pid, listener_fd = self._starter(launch, launch.program in self._targets)
        if listener_fd is not None:
            self._supervise(launch, listener_fd)
        return pid

    def _supervise(self, launch: Launch, listener_fd: int) -> None:
        program = launch.program
        self._station.supervise(
            listener_fd,
            program=program,
            life=launch.life,
            root=self._root(program),
            data=self._root(program),
            broker=self._broker(program),
            orders=self._liaison.orders(program),
        )

    def _heal(self, order_id: str) -> None:
        self._station.heal(order_id)

    def _lose(self, program: str) -> None:
        """The power was cut when the last life ended: before the next one, the files are what the disk kept."""
        if self._liaison.power_was_cut(program):
            with self._others_still(program):
                self._station.lose(program)

    def close(self) -> None:
        self._aftermath.end()
        self._station.close()


def call_action(step: Step) -> CallAction:
    """What the tap does for a step at a call."""
    on_call = TABLE[step.fault].on_call
    assert on_call is not None, f"{step.fault} takes no call"
    return on_call(step)


def _order(index: int, step: Step, drawn: bool) -> tap.Order:
    at, action = step.at, call_action(step)
    assert isinstance(at, AtCall)
    rule = tap.Rule(
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
        clamps=drawn,
    )
    return tap.Order(rule, action.power_loss)
