"""A laboratory: a process that makes one experiment after another, so that an interpreter is paid for once.

    python -m chaoskit.engine.lab

reads tasks from standard input and writes outcomes to standard output, one JSON object a line. The coordinator
(`explore`) starts several, and kills them when it ends; everything in a laboratory dies with it.
"""

import asyncio
import ctypes
import hashlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from chaoskit.checks import judge
from chaoskit.engine import assess
from chaoskit.engine.backends import Backend
from chaoskit.engine.conduct import Limits
from chaoskit.engine.locally import LocalBackend
from chaoskit.engine.once import Setup, run_once
from chaoskit.engine.rundir import RunDir
from chaoskit.engine.starting import Prepared, Starter, start_new
from chaoskit.model import plan as plans
from chaoskit.model.events import AnyEvent, FaultFired, Message, ProgramStarted
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.plan import Plan
from chaoskit.model.scenario import Scenario
from chaoskit.model.verdict import Verdict
from chaoskit.planning.experiments import Place, recovery, survey
from chaoskit.runtime.local import kill_marked

_PR_SET_PDEATHSIG = 1


class Task(msgspec.Struct, frozen=True):
    """One run to make in `directory`, which is removed unless the run is not green or `keep` is set.

    `prepared` starts Python programs as copies of prepared interpreters, which is quicker; `surveyed` notes at each
    call what a power loss could leave.
    """

    scenario: Scenario
    plan: Plan
    directory: str
    limits: Limits
    prepared: bool = True
    keep: bool = False
    surveyed: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What came of a task. `later` are the places of lives after the first, `recovery` those of the last recovery.

    `first` counts the places of the first life, `state` is a digest of what the last recovery began with.
    """

    code: ExitCode
    fired: bool
    verdicts: tuple[Verdict, ...]
    findings: tuple[str, ...]
    seconds: float
    first: int = 0
    later: tuple[Place, ...] = ()
    recovery: tuple[Place, ...] = ()
    state: str = ""


def outcome(events: Sequence[AnyEvent], scenario: Scenario, seconds: float, state: str) -> Outcome:
    """What a coordinator needs to know of a run."""
    judgement = judge(events)
    places = survey(events, scenario.target)
    return Outcome(
        code=judgement.code,
        fired=all(f.fired for f in judgement.faults),
        verdicts=judgement.verdicts,
        findings=tuple(f.text for f in judgement.findings if f.code is not ExitCode.OK),
        seconds=seconds,
        first=sum(1 for place in places if place.life == 0),
        later=tuple(place for place in places if place.life > 0),
        recovery=tuple(recovery(events, scenario.target)),
        state=state,
    )


class _StateAtStart:
    """A digest of what a deterministic worker's future depends on, at its last start after a fault."""

    def __init__(self, data: Callable[[], str]) -> None:
        self._data = data
        self._messages: list[str] = []
        self._fault = False
        self.digest = ""

    def on_event(self, event: AnyEvent) -> None:
        if isinstance(event, Message):
            self._messages.append(f"{event.kind} {event.queue} {event.nth} {event.id}")
        elif isinstance(event, FaultFired):
            self._fault = True
        elif isinstance(event, ProgramStarted) and self._fault and event.life > 0:
            # The new life exists and has not run yet: what a power loss took is gone, and nothing else has changed.
            self._fault = False
            self.digest = self._take()

    def _take(self) -> str:
        messages = hashlib.blake2b("\n".join(sorted(self._messages)).encode(), digest_size=16)
        return messages.hexdigest() + self._data()


async def perform(task: Task, backend: Backend, starter: Starter = start_new) -> Outcome:
    """Make one run."""
    directory = Path(task.directory)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    run_dir = RunDir(directory)
    run_dir.plan.write_text(plans.dump(task.plan))
    state = _StateAtStart(lambda: backend.digest(directory))
    began = time.monotonic()
    setup = Setup(
        task.scenario,
        task.plan,
        run_dir,
        limits=task.limits,
        observer=state.on_event,
        starter=starter,
        surveyed=task.surveyed,
        backend=backend,
        keep_data=task.keep,
    )
    events = await run_once(setup)
    result = outcome(events, task.scenario, round(time.monotonic() - began, 4), state.digest)
    if task.keep or result.code is not ExitCode.OK:
        assess.save(run_dir, assess.report(run_dir, events, None))
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return result


def main() -> None:
    """Serve tasks until standard input ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    mark = sys.argv[1]
    prepared = Prepared(mark)
    decoder, encoder = msgspec.json.Decoder(Task), msgspec.json.Encoder()
    try:
        with asyncio.Runner() as runner:
            for line in sys.stdin.buffer:
                task = decoder.decode(line)
                starter = prepared.start if task.prepared else start_new
                result = runner.run(perform(task, LocalBackend(), starter))
                sys.stdout.buffer.write(encoder.encode(result) + b"\n")
                sys.stdout.buffer.flush()
    finally:
        prepared.close()
        kill_marked(mark)


if __name__ == "__main__":
    main()
