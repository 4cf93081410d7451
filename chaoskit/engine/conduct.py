"""Conduct one run: bring the pipeline up, wait until everything has come or nothing will, and say why it ended.

Every wait has a limit. A run is complete when each expected verdict has come, each step has fired, and the pipeline
has nothing left to do. It is given up at the time limit, or when it is idle and nothing happens any more.
"""

import asyncio
from dataclasses import dataclass, field

from chaoskit.checks.verdicts import Reader, judged_by_exit
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Pipeline
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import AnyEvent, EndReason, EnvironmentLost, LogLine, RunEnded
from chaoskit.model.scenario import Scenario

_SENDER_PATIENCE = 3
# A command judges a pipeline with a broker when nothing has happened for this long.
_REST_S = 0.25


@dataclass(frozen=True)
class Limits:
    """Seconds: for the whole run, of quiet until it is given up, and between SIGTERM and SIGKILL at its end.

    `linger_s` is how long a complete run is watched for a last word, such as a verdict that contradicts the first.
    """

    timeout_s: float = 60.0
    quiet_s: float = 3.0
    grace_s: float = 3.0
    linger_s: float = 0.1


@dataclass
class Progress:
    """Which verdicts have come, and whether something broke that was not hurt."""

    scenario: Scenario
    ids: set[str] = field(default_factory=set)
    broken: bool = False

    def __post_init__(self) -> None:
        self._reader = Reader(self.scenario.verifier)
        self._expected = self.scenario.expected()

    def on_event(self, event: AnyEvent) -> None:
        if judged_by_exit(event, self.scenario.verifier) and isinstance(self._expected, tuple):
            self.ids.update(self._expected)
        elif isinstance(event, LogLine) and event.program == self.scenario.verifier.program:
            self.ids.update(line.id for line in self._reader.lines(event.text))
        elif isinstance(event, EnvironmentLost):
            self.broken = True

    def missing(self) -> str:
        """The verdicts that have not come, in words; empty when none is missing."""
        if isinstance(self._expected, int):
            count = self._expected - len(self.ids)
            return f"{count} more of {self._expected} verdicts" if count > 0 else ""
        names = [id_ for id_ in self._expected if id_ not in self.ids]
        return f"verdicts for {', '.join(names)}" if names else ""


class Conductor:
    """Waits for the end of one run."""

    def __init__(self, pipeline: Pipeline, executor: Executor, progress: Progress, limits: Limits) -> None:
        self.pipeline, self.executor, self.progress, self.limits = pipeline, executor, progress, limits
        self.interrupted = asyncio.Event()

    async def run(self) -> RunEnded:
        """Start, wait, and the reason of the end. The pipeline is still up afterwards."""
        waiting = asyncio.ensure_future(self._start_and_wait())
        stopping = asyncio.ensure_future(self.interrupted.wait())
        try:
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
            return await waiting if waiting.done() else self._ended("interrupted")
        finally:
            waiting.cancel()
            stopping.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    async def _start_and_wait(self) -> RunEnded:
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                await self.pipeline.start(self.limits.timeout_s)
                self.executor.start_clock()
                return self._ended(await self._until_over())
        except TimeoutError:
            return self._ended("timeout", self.limits.timeout_s)
        except EnvironmentProblem as e:
            return RunEnded(self.pipeline.now_s(), "error", str(e))

    async def _until_over(self) -> EndReason:
        while True:
            self.pipeline.changed.clear()
            reason = self._over()
            if reason == "complete":
                await asyncio.sleep(self.limits.linger_s)
                reason = self._over()
            if reason:
                return reason
            try:
                async with asyncio.timeout(self._until_quiet_s()):
                    await self.pipeline.changed.wait()
            except TimeoutError:
                if self._quiet() and self.pipeline.verifies_last():
                    self._verify()
                elif self._quiet():
                    # Who only sends may stay up for ever; a pipeline at rest with nothing missing is complete.
                    return "quiet" if self._missing() else "complete"

    def _over(self) -> EndReason | None:
        if self.progress.broken:
            return "error"
        if self.pipeline.hopeless():
            if self.pipeline.verifies_last():
                # It cannot become green any more; what the command says of the files is what a reader wants to know.
                self._verify()
            return None if self.pipeline.verifying() else "restart-loop"
        if not self.pipeline.idle() or self.pipeline.connections.send_late():
            return None
        ended = self.pipeline.ended()
        if self.pipeline.verifies_last() and (ended or not self.executor.outstanding):
            if ended or self._at_rest():
                self._verify()
            return None
        if self._missing():
            return "quiet" if ended else None
        return "complete"

    def _at_rest(self) -> bool:
        """Whether a pipeline that is idle may be judged: who has acknowledged may still write, a server still send."""
        return not self.pipeline.may_send() and self._silence_s() >= self._rest_s()

    def _rest_s(self) -> float:
        return _REST_S if self.pipeline.scenario.broker else 0.0

    def _verify(self) -> None:
        self.executor.calm()
        self.pipeline.verify()

    def _missing(self) -> bool:
        return bool(self.progress.missing() or self.executor.outstanding)

    def _silence_s(self) -> float:
        return self.pipeline.now_s() - self.pipeline.last_event_s

    def _quiet_s(self) -> float:
        """How long nothing may happen: longer while a sender is up, which may be about to send."""
        patient = self.pipeline.working() and (self.pipeline.scenario.broker or self._missing())
        return self.limits.quiet_s * (_SENDER_PATIENCE if patient else 1)

    def _until_quiet_s(self) -> float:
        resting_s = self._rest_s() - self._silence_s()
        if self.pipeline.verifies_last() and resting_s > 0 and self.pipeline.idle():
            return resting_s
        left_s = self._quiet_s() - self._silence_s()
        return left_s if left_s > 0 else self._quiet_s()

    def _quiet(self) -> bool:
        """Nothing has happened for long enough, and nobody is left who could go on.

        A queue may still hold messages: those whose consumer is dead for good, or was never there.
        """
        if self._waits_for_work():
            return False
        calm = self.pipeline.settled() and not self.pipeline.connections.in_progress()
        return calm and not self.executor.timed_outstanding() and self._silence_s() >= self._quiet_s()

    def _waits_for_work(self) -> bool:
        """Whether a silent program may be at work, on something that is missing and that somebody is there to judge."""
        if not self.pipeline.computing():
            return False
        judge = self.pipeline.members[self.progress.scenario.verifier.program]
        return self.progress.scenario.verifier.last is not None or (self._missing() and not judge.ended)

    def _ended(self, reason: EndReason, waited_s: float | None = None) -> RunEnded:
        waited_for = "" if reason == "complete" else self._waiting_for()
        silence_s = self._silence_s() if waited_s is None else waited_s
        return RunEnded(self.pipeline.now_s(), reason, waited_for, round(silence_s, 3))

    def _waiting_for(self) -> str:
        parts = [self.progress.missing()]
        if self.pipeline.awaited:
            parts.append(f"{self.pipeline.awaited} to consume from a queue")
        if computing := self.pipeline.computing():
            parts.append(f"{', '.join(computing)} to end (a server says `stays_up: true`)")
        faults = [str(self.executor.plan.steps[i]) for i in sorted(self.executor.outstanding)]
        if faults:
            parts.append(f"faults ({'; '.join(faults)})")
        if looping := self.pipeline.given_up():
            parts.append(f"{looping}, which dies again and again")
        if depths := self.pipeline.connections.depths():
            parts.append(f"queues to drain ({depths})")
        return "; ".join(part for part in parts if part) or "the pipeline to come to rest"
