"""A pipeline that is up: its programs, and everything that happens to them as one stream of events.

It starts programs in order, starts again what died, and says when nothing is left to do. It knows no fault and no
plan: the executor acts through its verbs. Which broker, proxies and runtime it has is the wiring's to say.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from chaoskit.checks.verdicts import Reader
from chaoskit.engine.members import CRASHES_IN_A_ROW, CRASHES_IN_A_ROW_ALONE, Member, State
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import (
    AnyEvent,
    EnvironmentLost,
    LogLine,
    LogsCut,
    ProgramExited,
    ProgramStarted,
    Ready,
)
from chaoskit.model.scenario import Scenario, start_order
from chaoskit.runtime.base import Runtime

_JOURNALED_LINES = 20_000
# How a program ends that was killed: by the signal, or (a shell or an init process) with the code that stands for it.
_KILLED = (-9, 128 + 9)
# A program that ends because its broker or its network is away is started again in this rhythm, and never given up.
_BACKOFF_WITHOUT_BROKER_S = 0.5
EventSink = Callable[[AnyEvent], None]


class Depth(NamedTuple):
    """What a queue holds and who waits at it."""

    ready: int
    unacked: int
    consumers: int


class Connections(Protocol):
    """What the pipeline needs of broker and proxies."""

    def address(self, program: str) -> Mapping[str, str]:
        """The environment variables that lead a program to the broker."""

    def consuming(self, program: str) -> bool:
        """Whether the program consumes from a queue right now."""

    def drained(self) -> bool:
        """No message waits in a queue that somebody consumes, none is unacknowledged, none is held back."""

    def in_progress(self) -> bool:
        """Somebody who is there has a message to handle, or a copy is on its way."""

    def depths(self) -> str:
        """The queues that are not empty, in words."""

    def queues(self) -> Mapping[str, Depth]:
        """Every queue of the broker."""

    def connected(self, program: str) -> bool:
        """Whether the program has a connection to the broker."""

    def cut_off(self, program: str) -> bool:
        """Whether the program is without a network."""

    def cut(self, program: str) -> None: ...

    def disconnect(self, program: str, for_s: float) -> None:
        """Take the program's network away, and give it back so many seconds later."""

    def kill_broker(self, for_s: float) -> None:
        """SIGKILL the broker, and start it again so many seconds after its end."""

    def stop_broker(self, for_s: float) -> None:
        """Stop the broker in order, and start it again so many seconds after its end."""

    def broker_up(self) -> bool:
        """Whether the broker is there and nobody hurts it."""

    def mending(self) -> bool:
        """Whether the broker or a program's network is away because of a fault, and will be back."""

    def send_late(self) -> bool:
        """Send the copies that were kept for the end; whether there were any."""

    async def close(self) -> None: ...


class Pipeline:
    """The programs of one scenario, brought up. `sink` hears every event, in order."""

    def __init__(self, scenario: Scenario, sink: EventSink) -> None:
        self.scenario = scenario
        in_a_row = CRASHES_IN_A_ROW if scenario.broker else CRASHES_IN_A_ROW_ALONE
        self.members = {name: Member(name, in_a_row) for name in start_order(scenario.programs)}
        self.changed = asyncio.Event()
        self.stopping = False
        self.awaited = ""
        self._lost = ""
        self.last_event_s = 0.0
        self.journaled_lines = _JOURNALED_LINES
        self.before_restart: Callable[[str], None] = lambda program: None
        self.at_close: Callable[[], None] = lambda: None
        self._verdicts = Reader(scenario.verifier)
        self._sink = sink
        self._began = time.monotonic()
        self._lines: dict[str, int] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._graces: dict[str, asyncio.TimerHandle] = {}

    def attach(self, runtime: Runtime, connections: Connections) -> None:
        """Give it what it runs on; before `start`."""
        self.runtime, self.connections = runtime, connections

    # --- events ---

    def now_s(self, monotonic_s: float | None = None) -> float:
        """Seconds since this pipeline was made, to the microsecond."""
        return round((time.monotonic() if monotonic_s is None else monotonic_s) - self._began, 6)

    def emit(self, event: AnyEvent) -> None:
        """Tell the sink, and whoever waits for `changed`."""
        self.last_event_s = self.now_s()
        self._sink(event)
        self.changed.set()

    def lost(self, what: str, reason: str) -> None:
        """Something that chaoskit itself provides went away without being hurt; nobody need wait for it any more.

        The first time ends the run; what is lost after it was lost with it.
        """
        if not self._lost:
            self._lost = f"{what}: {reason}"
            self.emit(EnvironmentLost(self.now_s(), what, reason))

    def program_started(self, program: str, life: int, pid: int) -> None:
        member = self.members[program]
        after_s = None if member.died_at is None else round(self.now_s() - member.died_at, 6)
        self.emit(ProgramStarted(self.now_s(), program, life, pid, after_s))

    def program_line(self, program: str, life: int, text: str) -> None:
        count = self._lines[program] = self._lines.get(program, 0) + 1
        if count <= self.journaled_lines or self._judges(program, count, text):
            self.emit(LogLine(self.now_s(), program, life, text))
        elif count == self.journaled_lines + 1:
            self.emit(LogsCut(self.now_s(), program, self.journaled_lines))

    def _judges(self, program: str, count: int, text: str) -> bool:
        """Whether a line is the verifier's and counts: of one that floods, only lines with a verdict in them."""
        mine = program == self.scenario.verifier.program
        return mine and (count <= _JOURNALED_LINES or any(self._verdicts.lines(text)))

    def program_exited(self, program: str, life: int, code: int) -> None:
        member = self.members[program]
        member.dies(self.now_s())
        if program in self._graces:
            self._graces.pop(program).cancel()
        if member.hurt_if_killed and code not in _KILLED:
            member.hurt = False
        hurt = member.hurt
        member.state = self._state_after_exit(member, code)
        self.emit(ProgramExited(self.now_s(), program, life, code, hurt, self.stopping))
        if member.state == "restarting":
            backoff_s = self._backoff_s(member)
            if backoff_s is None:
                member.state = "dead"
                self.changed.set()
            else:
                self.later(backoff_s, lambda: self._restart(program))
        elif hurt and not self.stopping:
            # Nobody starts it again, so what its end was to do to its files is done now: the verifier looks at them.
            self.before_restart(program)

    def _backoff_s(self, member: Member) -> float | None:
        if member.hurt:
            return 0.0
        return _BACKOFF_WITHOUT_BROKER_S if self.connections.mending() else member.crash_backoff_s()

    def _state_after_exit(self, member: Member, code: int) -> State:
        if self.stopping or member.stay_dead:
            return "dead"
        verifier = self.scenario.verifier
        judges = member.name == verifier.program and (verifier.exit_code or verifier.command)
        ended_well = code == 0 and not self.runtime.starts_again(member.name)
        if not member.hurt and (ended_well or judges):
            return "finished"
        if self.scenario.restart == "none":
            return "dead"
        return "restarting"

    # --- lives ---

    async def start(self, within_s: float) -> None:
        """Start every program, each after those it waits for. Raises EnvironmentProblem when one does not come."""
        for name in self.members:
            if name != self.scenario.verifier.last:
                for earlier in self.scenario.programs[name].after:
                    await self._until_ready(earlier, within_s)
                self.begin(name)
        waited_for = {a for p in self.scenario.programs.values() for a in p.after}
        for name in waited_for:
            await self._until_ready(name, within_s)
        self.emit(Ready(self.now_s()))

    def verifies_last(self) -> bool:
        """Whether a command is to judge, and has not been started yet."""
        last = self.scenario.verifier.last
        return last is not None and self.members[last].state == "waiting"

    def verify(self) -> None:
        """Start the command that judges. Raises EnvironmentProblem when it cannot be started."""
        self.begin(self.scenario.verifier.program)

    def verifying(self) -> bool:
        """Whether the command that judges runs."""
        last = self.scenario.verifier.last
        return last is not None and self.members[last].state == "up"

    def begin(self, program: str) -> None:
        """Start the next life of a program that is not running."""
        member = self.members[program]
        life = member.life + 1
        environment = {**self.scenario.environment_of(program), **self.connections.address(program)}
        member.begins(life, self.now_s())
        self.runtime.start(program, life, environment)

    async def _until_ready(self, program: str, within_s: float) -> None:
        self.awaited = program
        came = await self.wait_for(lambda: bool(self._lost) or self._ready(program), within_s)
        if self._lost:
            raise EnvironmentProblem(self._lost)
        if not came:
            raise EnvironmentProblem(
                f"{program} did not consume from a queue within {within_s:g} s; its last lines are in "
                f"logs/{program}.log, and programs that wait for it name it in `after`"
            )
        self.awaited = ""

    def _ready(self, program: str) -> bool:
        member = self.members[program]
        if not self.scenario.broker:
            return member.state != "waiting"
        return member.state in ("finished", "dead") or self.connections.consuming(program)

    async def wait_for(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait until `condition`, looked at after each event; whether it came within the time."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return condition()
        return True

    def _restart(self, program: str) -> None:
        if self.stopping or self.members[program].state != "restarting":
            return
        try:
            self.before_restart(program)
            self.begin(program)
        except EnvironmentProblem as e:
            self.members[program].state = "dead"
            self.emit(EnvironmentLost(self.now_s(), program, str(e)))

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` after a while, unless the pipeline is closed before."""

        def run() -> None:
            self._timers.discard(timer)
            action()
            # Without a timer the pipeline may be settled now, and somebody waits for that.
            self.changed.set()

        timer = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(timer)

    # --- what can be done to programs ---

    def alive(self, program: str) -> bool:
        """Whether a life is running that nothing has ended yet."""
        return self.runtime.running(program) and not self.members[program].hurt

    def hurts(
        self, program: str, restart: bool = True, grace_s: float | None = None, may_be_late: bool = False
    ) -> bool:
        """Note that chaoskit is about to end this life, by force after `grace_s`; whether there is one to end.

        `may_be_late`: by a SIGKILL that may find it at its end; how it ended then shows whether it was hurt.
        """
        member = self.members[program]
        if not self.alive(program):
            return False
        member.hurt, member.stay_dead, member.hurt_if_killed = True, not restart, may_be_late
        if grace_s is not None:
            self._graces[program] = asyncio.get_running_loop().call_later(grace_s, self.runtime.kill, program)
        return True

    def kill(self, program: str, restart: bool = True) -> None:
        if self.hurts(program, restart, may_be_late=True):
            self.runtime.kill(program, for_good=not restart)

    def stop(self, program: str, restart: bool = True, grace_s: float = 10.0) -> None:
        if self.hurts(program, restart, grace_s):
            self.runtime.terminate(program, for_good=not restart)

    def pause(self, program: str, for_s: float) -> None:
        self.runtime.pause(program)
        self.later(for_s, lambda: self.runtime.resume(program))

    def cut(self, program: str) -> None:
        self.connections.cut(program)

    def disconnect(self, program: str, for_s: float) -> None:
        self.connections.disconnect(program, for_s)

    def kill_broker(self, for_s: float) -> None:
        self.connections.kill_broker(for_s)

    def stop_broker(self, for_s: float) -> None:
        self.connections.stop_broker(for_s)

    # --- is there anything left to do? ---

    def settled(self) -> bool:
        """Every program is where it will stay, those that consumed before consume again, no timer is pending.

        Nothing of what they need is away either.
        """
        if self.connections.mending():
            return False
        for name, member in self.members.items():
            if member.state == "waiting" and name == self.scenario.verifier.last:
                continue
            consuming = self.connections.consuming(name)
            member.consumed = member.consumed or consuming
            if not member.settled or (member.state == "up" and member.consumed and not consuming):
                return False
        return not self._timers

    def working(self) -> list[str]:
        """Programs that are up, have never consumed and are not to stay up: they may still send, or write, and end."""
        programs = self.scenario.programs
        return [
            m.name for m in self.members.values() if m.state == "up" and not (m.consumed or programs[m.name].stays_up)
        ]

    def may_send(self) -> bool:
        """Whether a program stays up that has never consumed: with a broker, nobody knows when it has sent all."""
        programs = self.scenario.programs
        stay = (m for m in self.members.values() if m.state == "up" and programs[m.name].stays_up)
        return bool(self.scenario.broker) and any(not m.consumed for m in stay)

    def computing(self) -> list[str]:
        """Programs that may be silent for long and are waited for: without a broker all that work, else who judges."""
        return [name for name in self.working() if not self.scenario.broker or name == self.scenario.verifier.last]

    def ended(self) -> bool:
        """Nothing can happen any more: every program has ended for good, and no timer is pending."""
        last = self.scenario.verifier.last
        waiting = any(not m.ended for m in self.members.values() if not (m.name == last and m.state == "waiting"))
        return not waiting and not self._timers

    def idle(self) -> bool:
        """Settled, every queue drained, and nobody left who only sends or writes."""
        return self.settled() and self.connections.drained() and not self.working()

    def hopeless(self) -> bool:
        """A program was given up, and what it was to do waits for it."""
        return self.given_up() is not None and not (self.scenario.broker and self.connections.drained())

    def given_up(self) -> str | None:
        """A program that died again and again and was given up, if there is one."""
        return next((m.name for m in self.members.values() if m.state == "dead" and m.crashes and not m.hurt), None)

    async def close(self, grace_s: float) -> None:
        """Stop every program, then the proxies and the broker."""
        self.stopping = True
        for timer in (*self._timers, *self._graces.values()):
            timer.cancel()
        try:
            await self.runtime.close(grace_s)
        finally:
            self.at_close()
            await self.connections.close()
