"""A pipeline by hand: brought up without faults and without a tap, kept up until it is told to go down.

Its run directory is a normal one, so what it did can be judged and inspected. Programs that a user killed stay dead
until they are restarted; programs that end by themselves follow the scenario's `restart`. It prints nothing.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

import chaoskit
from chaoskit import journal
from chaoskit.engine import control, rundir, upfile, wiring
from chaoskit.engine.backends import Backend, RuntimeName, Stage, opened
from chaoskit.engine.conduct import Progress
from chaoskit.engine.executor import Executor
from chaoskit.engine.interrupts import interruptible
from chaoskit.engine.pipeline import Pipeline
from chaoskit.engine.rundir import RunDir
from chaoskit.faults import TABLE
from chaoskit.model.errors import ChaoskitError, EnvironmentProblem, UsageError
from chaoskit.model.events import AnyEvent, ProgramExited, ProgramStarted, RunEnded, RunStarted
from chaoskit.model.plan import Plan
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.local import kill_marked

# Between SIGTERM and SIGKILL: workers finish the message in hand.
GRACE_S = 5.0
_START_S = 60.0
_NO_TAP = "a pipeline that is up by hand is not tapped"
Ended = Literal["down", "interrupted"]
# How a runtime ends a program, for good or not.
_End = Callable[[str, bool], None]


class Watcher(Protocol):
    """Who follows a pipeline by hand."""

    def event(self, event: AnyEvent) -> None: ...

    def note(self, text: str) -> None:
        """Something that the user should know, in one line."""

    def progress(self, text: str, passing: bool) -> None:
        """Something takes time: an image is pulled (a `passing` line), a broker starts."""

    def ready(self, run_dir: RunDir) -> None:
        """Every program was started and every consumer consumes."""


def up(scenario: Scenario, watcher: Watcher, runtime: RuntimeName = "local") -> Ended:
    """Have the pipeline of this directory until somebody ends it. Raises UsageError and EnvironmentProblem."""
    scenario.expected()
    with upfile.claimed() as claim:
        if claim.stale is not None:
            _clean_up_after(claim.stale, watcher)
        run_dir = rundir.create(scenario.name, 0, datetime.now(UTC))
        try:
            backend = wiring.backend(runtime, scenario, watcher.progress)
            return asyncio.run(_up(scenario, run_dir, claim, watcher, backend))
        finally:
            kill_marked(str(run_dir.path.resolve()))


def _clean_up_after(stale: upfile.Up, watcher: Watcher) -> None:
    count = kill_marked(str(stale.run_dir.path.resolve()))
    killed = f"; {count} processes that it left were killed" if count else ""
    watcher.note(f"the chaoskit that had a pipeline up here (pid {stale.pid}) was killed{killed}")


async def _up(scenario: Scenario, run_dir: RunDir, claim: upfile.Claim, watcher: Watcher, backend: Backend) -> Ended:
    writer = journal.Writer(run_dir.journal)
    try:
        async with opened(backend):
            session = Session(scenario, [writer.append, watcher.event], backend)
            with interruptible(session.interrupt):
                return await session.run(run_dir, claim, watcher)
    finally:
        writer.close()


@dataclass
class _Life:
    """The last life of a program as the events tell it."""

    number: int
    pid: int | None
    since: datetime
    exit_code: int | None = None


class Session:
    """One pipeline by hand and the verbs that act on it. `sinks` hear every event."""

    def __init__(self, scenario: Scenario, sinks: list[Callable[[AnyEvent], None]], backend: Backend) -> None:
        self._backend = backend
        self._progress = Progress(scenario)
        self._sinks = [*sinks, self._progress.on_event, self._note_life]
        self._lives: dict[str, _Life] = {}
        self._asked: Ended | None = None
        self._asked_to_end = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._ready = False
        self.pipeline = Pipeline(scenario, self._emit)
        # What is up by hand has no end in sight: its log is followed in the journal, and kept whole.
        self.pipeline.journaled_lines = sys.maxsize
        self._run_dir = RunDir(rundir.home())

    def _emit(self, event: AnyEvent) -> None:
        for sink in self._sinks:
            sink(event)

    def _note_life(self, event: AnyEvent) -> None:
        now = datetime.now(UTC)
        if isinstance(event, ProgramStarted):
            self._lives[event.program] = _Life(event.life, event.pid, now)
        elif isinstance(event, ProgramExited):
            self._lives[event.program] = _Life(event.life, None, now, event.code)

    def interrupt(self) -> None:
        """Ctrl-C: end in order; the second one does not wait for programs that do not stop."""
        if self._asked_to_end.is_set():
            for program in self.pipeline.members:
                self.pipeline.runtime.kill(program)
        self._end("interrupted")

    def _end(self, asked: Ended) -> None:
        self._asked = self._asked or asked
        self._asked_to_end.set()

    # --- from up to down ---

    async def run(self, run_dir: RunDir, claim: upfile.Claim, watcher: Watcher) -> Ended:
        """Bring it up, keep it up, take it down."""
        self._run_dir = run_dir
        self._emit(self._started())
        server = control.Server(self.answer)
        try:
            executor = Executor(self.pipeline, Plan(0), TABLE)
            self._stage = Stage(self.pipeline.scenario, run_dir.path, self.pipeline, executor, tapped=False)
            await self._backend.assemble(self._stage)
            try:
                path = await server.start()
                claim.write(upfile.Up(os.getpid(), self.pipeline.scenario.name, run_dir.path.name, path))
                await self._until_asked(run_dir, watcher)
            finally:
                await self.pipeline.close(GRACE_S)
            await self._backend.settle(self._stage, keep_data=True)
        except EnvironmentProblem as e:
            self._emit(RunEnded(self.pipeline.now_s(), "error", str(e)))
            raise
        finally:
            server.close()
        self._emit(self._run_ended())
        return self._asked or "interrupted"

    def _started(self) -> RunStarted:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return RunStarted(
            0.0, chaoskit.__version__, self.pipeline.scenario, Plan(0), self._backend.name, now, False, _NO_TAP
        )

    def _run_ended(self) -> RunEnded:
        missing = self._progress.missing()
        return RunEnded(self.pipeline.now_s(), "interrupted" if missing else "complete", missing)

    async def _until_asked(self, run_dir: RunDir, watcher: Watcher) -> None:
        starting = asyncio.ensure_future(self.pipeline.start(self.pipeline.scenario.timeout_s))
        asked = asyncio.ensure_future(self._asked_to_end.wait())
        try:
            await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                self._ready = True
                if looping := self.pipeline.given_up():
                    watcher.note(f"{looping} died again and again and was given up: `chaoskit logs {looping}` says why")
                watcher.ready(run_dir)
                await asked
        finally:
            starting.cancel()
            asked.cancel()
            await asyncio.gather(starting, asked, return_exceptions=True)

    # --- the verbs ---

    async def answer(self, request: control.Request) -> control.Reply:
        """Carry out one request."""
        try:
            match request:
                case control.Ps():
                    return self.listing()
                case control.Kill(program):
                    return control.Done(await self.kill(program))
                case control.Restart(program):
                    return control.Done(await self.restart(program))
                case control.Data():
                    await self._backend.fetch(self._stage)
                    return control.Done("the data is as it is now")
                case control.Down():
                    self._end("down")
                    return control.Done("stopping")
        except ChaoskitError as e:
            return control.Refused(str(e), int(e.exit_code))

    def listing(self) -> control.Listing:
        """Programs and queues as they are now."""
        queues = self.pipeline.connections.queues()
        return control.Listing(
            self.pipeline.scenario.name,
            str(self._run_dir),
            os.getpid(),
            self._ready,
            [self._row(program) for program in self.pipeline.members],
            [control.QueueRow(name, *depth) for name, depth in sorted(queues.items())],
        )

    def _row(self, program: str) -> control.ProgramRow:
        member, life = self.pipeline.members[program], self._lives.get(program)
        if life is None:
            return control.ProgramRow(program, member.state, None, None, None, None, None)
        for_s = round((datetime.now(UTC) - life.since).total_seconds(), 3)
        since = life.since.strftime("%Y-%m-%dT%H:%M:%SZ")
        # A container has no process id that means something here.
        return control.ProgramRow(program, member.state, life.number, life.pid or None, since, for_s, life.exit_code)

    async def kill(self, program: str) -> str:
        """SIGKILL; the program stays dead. What was done, in one line. Raises UsageError."""
        self._check(program)
        async with self._one_at_a_time:
            life = self._lives.get(program)
            if life is None or not self._may_live(program):
                raise UsageError(f"{program} is not running: `chaoskit restart {program}` starts it")
            which = f" (pid {life.pid})" if life.pid else ""
            if await self._take_down(program, self.pipeline.runtime.kill):
                return f"{program}{which} was killed; it stays dead until `chaoskit restart {program}`"
            # It waited for its next life, and gets none.
            return f"{program} had died by itself and stays dead until `chaoskit restart {program}`"

    def _may_live(self, program: str) -> bool:
        """Whether it lives or may be started by somebody else than the user."""
        member = self.pipeline.members[program]
        # What chaoskit gave up after many crashes, an engine goes on starting.
        given_up = member.state == "dead" and not member.stay_dead
        engine_starts = given_up and self.pipeline.scenario.restart == "engine"
        return self.pipeline.runtime.running(program) or member.state == "restarting" or engine_starts

    async def restart(self, program: str) -> str:
        """Start a dead program; stop (SIGTERM) and start a living one. Raises UsageError and EnvironmentProblem."""
        self._check(program)
        async with self._one_at_a_time:
            member = self.pipeline.members[program]
            # The command that judges is started by hand, when the user wants to know.
            if member.state == "waiting" and program != self.pipeline.scenario.verifier.last:
                raise UsageError(f"{program} was not started yet: the pipeline is still coming up")
            was_running = await self._take_down(program, self.pipeline.runtime.terminate)
            if self._asked_to_end.is_set():
                raise UsageError("the pipeline is going down")
            member.stay_dead, member.crashes = False, 0
            number = member.life + 1
            self.pipeline.begin(program)
            life = await self._until_up(program, number)
            how = "stopped and started" if was_running else "started"
            return f"{program} was {how}: " + (f"pid {life.pid}, " if life.pid else "") + f"life {life.number}"

    async def _until_up(self, program: str, number: int) -> _Life:
        """The life with this number, when it has begun. Raises EnvironmentProblem when it does not begin."""

        def begun() -> bool:
            return program in self._lives and self._lives[program].number >= number

        if not await self.pipeline.wait_for(begun, _START_S):
            raise EnvironmentProblem(f"{program} did not start in {_START_S:g} s")
        return self._lives[program]

    async def _take_down(self, program: str, end: _End) -> bool:
        """Have no life of it, and none to come but by hand; `end` is how one ends. Whether there was one."""
        member, runtime = self.pipeline.members[program], self.pipeline.runtime
        living = self._living(program)
        self.pipeline.hurts(program, restart=False)
        member.stay_dead = True
        if member.state == "restarting":
            member.state = "dead"
        if living:
            await self._until_down(program, end)
        await runtime.keep_down(program)
        if runtime.running(program):
            # A life began at the last moment.
            await self._until_down(program, end)
        elif member.state == "up":
            # It never began, so nobody tells of its end, and the next life takes its number.
            member.state, member.life = "dead", member.life - 1
        return living

    def _living(self, program: str) -> bool:
        """Whether a life has begun and not ended: one that an engine is to start may be up to a minute away."""
        begun = program in self._lives and self._lives[program].number == self.pipeline.members[program].life
        return begun and self.pipeline.runtime.running(program)

    async def _until_down(self, program: str, end: _End) -> None:
        """End the life and wait until none is left; SIGKILL after the grace."""

        def down() -> bool:
            return not self.pipeline.runtime.running(program) and self.pipeline.members[program].state != "up"

        end(program, True)
        if not await self.pipeline.wait_for(down, GRACE_S):
            self.pipeline.runtime.kill(program, for_good=True)
            if not await self.pipeline.wait_for(down, GRACE_S):
                raise EnvironmentProblem(f"{program} does not die: the kernel holds it, perhaps on a disk that hangs")

    def _check(self, program: str) -> None:
        if program not in self.pipeline.members:
            raise UsageError(f"there is no program {program!r} (programs: {', '.join(self.pipeline.members)})")
