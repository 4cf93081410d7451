"""Receives the held calls of one life of one program, performs and answers them, counts them, and fires rules.

It owns no loop and no thread. In an asyncio loop: `loop.add_reader(supervisor.fileno(), supervisor.step)`; by itself:
`while not supervisor.ended: select([supervisor], [], []); supervisor.step()`. `step` never waits for the program or the
broker. If this process dies, the kernel fails the program's watched calls with ENOSYS.
"""

import contextlib
import errno
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from chaoskit.tap import files, opens, paths, sends, transfers, writes
from chaoskit.tap.events import Call, Ended, Event, Fired, Lost, Unseen
from chaoskit.tap.held import Blind, Decision, Handler, Held, Refusal
from chaoskit.tap.kernel import ENDED, QUIET, READY, Listener
from chaoskit.tap.killing import kill_program, signal_all
from chaoskit.tap.operation import Operation, Vanished
from chaoskit.tap.rules import Arming, Rule
from chaoskit.tap.shadow import Shadow
from chaoskit.tap.syscalls import architecture
from chaoskit.tap.target import Target, Unreachable

# After an answer the program often calls again at once: so often it is looked for, and from so many answers on again
# after it was in vain.
_LOOKS_MAX = 24
_HOPE_EVERY = 32
# A program that never pauses must not keep the loop's other work waiting.
_BURST_NS = 2_000_000

_MODULES = (files, opens, paths, sends, transfers, writes)


def _handlers() -> dict[int, Handler]:
    by_name = {name: handler for module in _MODULES for name, handler in module.HANDLERS.items()}
    return {number: by_name[name] for name, number in architecture().numbers.items()}


class Supervisor:
    """The tap of one life (from a start to the death) of one program.

    `root` is the watched directory as the program sees it; `broker` the address, or the addresses, that the program
    connects to; `kill` gets the processes to kill, the caller first (by default they are killed here, with their
    families). `shadow` is told of everything, for power loss.
    """

    def __init__(
        self,
        listener_fd: int,
        *,
        root: Path,
        program: str = "program",
        life: int = 0,
        rules: Iterable[Rule] = (),
        on_event: Callable[[Event], None],
        broker: sends.Broker = None,
        kill: Callable[[list[int]], None] = kill_program,
        shadow: Shadow | None = None,
    ) -> None:
        self.ended = False
        self._life = life
        self._prefix = f"{program}/{life}/"
        self._listener = Listener(listener_fd)
        self._target = Target(root)
        self._held = Held(self._listener, self._target, sends.BrokerSockets(broker))
        self._arming = Arming(rules, life)
        self._emit = on_event
        self._kill = kill
        self._shadow = shadow
        self._handlers = _handlers()
        self._counts: dict[tuple[str, str], int] = {}
        self._doomed: dict[int, tuple[Rule, Operation]] = {}
        self._losses: set[str] = set()
        self._dead = False
        self._patience = _LOOKS_MAX
        self._answers = 0

    def fileno(self) -> int:
        """The listener's descriptor, readable when a call is held."""
        return self._listener.fd

    @property
    def rules(self) -> list[Rule]:
        """The rules that have not fired yet (or go on until healed): for the next life."""
        return self._arming.rules

    def arm(self, rule: Rule) -> None:
        """Add a rule; it counts from now on."""
        self._arming.add(rule)

    def heal(self, rule_id: str) -> None:
        """Take a rule away."""
        self._arming.disarm(rule_id)

    def close(self) -> None:
        """Give everything back. Calls that are still held fail with ENOSYS."""
        if self._listener.fd >= 0:
            self._listener.close()
            self._target.close()
        self.ended = True

    def step(self) -> None:
        """Receive and answer what is pending, and what follows at once; returns within milliseconds."""
        if self.ended:
            return
        deadline_ns = time.monotonic_ns() + _BURST_NS
        state = self._listener.look()
        while state == READY:
            again = self._listener.receive() and self._decide()
            if time.monotonic_ns() > deadline_ns:
                break
            state = self._await_next() if again else self._listener.look()
        if state == ENDED:
            self.ended = True
            self._emit(Ended(self._life, time.monotonic()))

    def _await_next(self) -> int:
        """Look for the program's next call for some microseconds; give up sooner the less often that helps.

        Looking costs less than a turn of the loop as long as the program has a processor of its own.
        """
        self._answers += 1
        if not self._answers % _HOPE_EVERY:
            self._patience = _LOOKS_MAX
        for _ in range(self._patience):
            state = self._listener.look()
            if state != QUIET:
                self._patience = _LOOKS_MAX
                return state
        self._patience >>= 1
        return self._listener.look()

    def _decide(self) -> bool:
        """Handle the received call. True when the program is likely to call again at once."""
        tid = self._listener.tid
        if self._dead or tid in self._doomed:
            self._strike(tid)
            return False
        decision = self._understand()
        if decision is None:
            return self._listener.proceed()
        if isinstance(decision, Blind | Refusal):
            return self._tell(decision)
        try:
            self._operate(decision)
        except Vanished:
            return False
        finally:
            decision.release()
        return decision.op != "send" and not self._dead

    def _understand(self) -> Decision:
        try:
            self._target.enter(self._listener.tid)
            return self._handlers[self._listener.nr](self._held)
        except Unreachable as error:
            self._lose(str(error))
        except PermissionError as error:
            self._doubt(error)
        except OSError:
            # A bad address, a closed descriptor, a path that leads nowhere: the kernel says so to the program.
            pass
        return None

    def _doubt(self, error: PermissionError) -> None:
        """EACCES is the program's own, of a path that it may not go. EPERM means that we are not let into it."""
        if error.errno != errno.EPERM:
            return
        try:
            self._target.probe()
            self._lose(f"a call of process {self._target.pid} cannot be followed: {error}")
        except Unreachable as reason:
            self._lose(str(reason))

    def _lose(self, reason: str) -> None:
        # Each call of the program would say the same, and once is enough to end a run.
        if reason not in self._losses:
            self._losses.add(reason)
            self._emit(Lost(reason, time.monotonic()))

    def _tell(self, decision: Blind | Refusal) -> bool:
        if decision.reason:
            self._emit(Unseen(decision.reason, self._target.pid, time.monotonic()))
        if isinstance(decision, Refusal):
            return self._listener.refuse(decision.number)
        return self._listener.proceed()

    def _operate(self, operation: Operation) -> None:
        rule = self._arming.due(operation.op, operation.path, operation.size)
        if rule is None:
            self._pass(operation)
        elif rule.action == "kill":
            self._kill_at(operation, rule)
        elif rule.action == "pause":
            signal_all([self._target.pid], signal.SIGSTOP)
            self._fired(operation, rule, 0)
            self._pass(operation)
        elif rule.action == "errno":
            self._listener.refuse(rule.errno_number)
            if self._shadow is not None:
                operation.record_failure(self._shadow)
            self._fired(operation, rule, 0)
        else:
            self._shorten(operation, rule)

    def _pass(self, operation: Operation) -> None:
        result = None
        if operation.faithful:
            try:
                result = self._perform(operation, operation.size)
                operation.answer(self._listener, result)
            except OSError as error:
                self._listener.refuse(error.errno or 0)
                return
        else:
            self._listener.proceed()
        self._succeeded(operation, result)

    def _perform(self, operation: Operation, limit: int) -> int:
        result = operation.perform(limit)
        if self._shadow is not None:
            try:
                operation.record(self._shadow, result)
            except OSError as error:
                self._lose(f"what is durable of {operation.path} is not known any more: {error}")
        return result

    def _shorten(self, operation: Operation, rule: Rule) -> None:
        try:
            written = self._perform(operation, rule.written_bytes(operation.size))
        except OSError as error:
            self._listener.refuse(error.errno or 0)
            return
        operation.answer(self._listener, written)
        self._fired(operation, rule, written)
        self._succeeded(operation, written)

    def _kill_at(self, operation: Operation, rule: Rule) -> None:
        limit = {"before": 0, "inside": rule.written_bytes(operation.size)}.get(rule.when, operation.size)
        written = 0
        if rule.when == "after" or limit:
            try:
                written = self._perform(operation, limit)
            except OSError:
                self._let_go_and_doom(operation, rule)
                return
        self._end_program()
        self._fired(operation, rule, written)
        if rule.when == "after":
            self._succeeded(operation, written)

    def _let_go_and_doom(self, operation: Operation, rule: Rule) -> None:
        """The kernel has to perform this call (a full socket buffer, a real error): kill at the thread's next one."""
        if operation.op != "send":
            self._pass(operation)
            return
        self._listener.proceed()
        self._doomed[self._listener.tid] = (rule, operation)

    def _strike(self, tid: int) -> None:
        self._end_program()
        doomed = self._doomed.pop(tid, None)
        if doomed is not None:
            rule, operation = doomed
            self._fired(operation, rule, operation.size)
            self._succeeded(operation, None)

    def _end_program(self) -> None:
        self._dead = True
        with contextlib.suppress(OSError):  # It may have died of the first blow meanwhile.
            self._target.enter(self._listener.tid)
        caller = self._target.pid
        self._kill(sorted(self._target.pids, key=lambda pid: pid != caller))

    def _point(self, operation: Operation) -> str:
        nth = self._counts.get((operation.op, operation.path), 0) + 1
        return f"{self._prefix}{operation.op}:{operation.path}#{nth}"

    def _succeeded(self, operation: Operation, result: int | None) -> None:
        op, path = place = operation.op, operation.path
        nth = self._counts[place] = self._counts.get(place, 0) + 1
        self._arming.succeeded(op, path)
        point = f"{self._prefix}{op}:{path}#{nth}"
        now_s = time.monotonic()
        self._emit(Call(point, op, path, nth, self._life, self._target.pid, operation.size, result, now_s))

    def _fired(self, operation: Operation, rule: Rule, written_bytes: int) -> None:
        self._arming.fire(rule)
        inside = rule.when == "inside" or rule.action == "short"
        point = self._point(operation) + (f"@{written_bytes}" if inside else "")
        self._emit(Fired(rule.id, point, rule.action, rule.when, written_bytes, time.monotonic()))
