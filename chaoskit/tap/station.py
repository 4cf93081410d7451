"""Everything of a tap that has to happen beside the supervised programs: one Supervisor a life, and what outlasts it.

A Station follows what is durable of each data directory, keeps a lasting fault going from life to life, looks at a file
while the call on it is held, and plays a power cut between two lives. It knows no plan and owns no loop: `watch` and
`unwatch` are a loop's `add_reader` and `remove_reader`, and all that it finds out goes to `on_report`, at once and in
order. An engine on this machine calls it directly; one on another machine sends `Order`s and gets `Report`s as JSON.

It does not start programs, and it does not wait for their ends: what happens between an Ended report and the next
`supervise` is the caller's.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from chaoskit.tap.events import Call, Ended, Event, Fired, Lost
from chaoskit.tap.messages import Order, Report
from chaoskit.tap.powerloss import CrashState
from chaoskit.tap.rules import Rule
from chaoskit.tap.sends import Broker
from chaoskit.tap.shadow import Shadow
from chaoskit.tap.supervisor import Supervisor

_TAIL_BYTES = 256
# A link could lead out of the data directory, and the open of a pipe would wait while the program is held.
_O_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Station:
    """Supervises programs, life after life.

    `surveyed` says at each call which states a power loss could leave. `powered` follows what is durable, which any
    order with a power loss needs, from the first life on.
    """

    def __init__(
        self,
        on_report: Callable[[Report], None],
        watch: Callable[[int, Callable[[], None]], object],
        unwatch: Callable[[int], object],
        *,
        surveyed: bool = False,
        powered: bool = False,
    ) -> None:
        self._report, self._watch, self._unwatch = on_report, watch, unwatch
        self._surveyed, self._follows = surveyed, surveyed or powered
        # A child that escaped can outlive its program, so an old life's tap may end after the next life began.
        self._supervisors: dict[tuple[str, int], Supervisor] = {}
        self._shadows: dict[Path, Shadow] = {}
        self._data: dict[str, Path] = {}
        self._orders: dict[str, Order] = {}
        self._fired: set[str] = set()
        self._lasting: dict[str, str] = {}
        self._to_lose: dict[str, CrashState] = {}

    def supervise(
        self,
        listener_fd: int,
        *,
        program: str,
        life: int,
        root: Path,
        data: Path,
        broker: Broker = None,
        orders: Iterable[Order] = (),
    ) -> None:
        """Answer the calls of a life from now on; `listener_fd` is the Station's, also when this fails.

        `root` is the data directory as the program sees it, `data` the same directory as this process does; `broker`
        the address, or the addresses, at which the program sees the broker. An order that has fired in an earlier life
        is not carried out again, but one that lasts is. What this process cannot do here is reported as Lost.
        """
        self._data[program] = data
        try:
            if self._follows and data not in self._shadows:
                self._shadows[data] = Shadow(data)
        except OSError as error:
            os.close(listener_fd)
            self._lost(program, life, f"the data directory of {program} cannot be followed: {error}")
            return
        supervisor = Supervisor(
            listener_fd,
            root=root,
            program=program,
            life=life,
            rules=self._rules(program, list(orders)),
            on_event=lambda event: self._on_event(program, life, event),
            broker=broker,
            shadow=self._shadows.get(data),
        )
        self._supervisors[program, life] = supervisor
        self._watch(supervisor.fileno(), lambda: self._step(program, life))

    def heal(self, order_id: str) -> None:
        """End a lasting order: in this life and in all that follow."""
        self._lasting.pop(order_id, None)
        for supervisor in self._supervisors.values():
            supervisor.heal(order_id)

    def lose(self, program: str) -> bool:
        """The power was cut when the last life ended: make the files what the disk kept. Whether it was cut.

        To be called when every process of the program is dead, before its next life. Raises OSError.
        """
        state = self._to_lose.pop(program, None)
        if state is not None:
            self._shadows[self._data[program]].apply(state)
        return state is not None

    def close(self) -> None:
        """Give everything back. Calls that are still held fail with ENOSYS."""
        for program, life in list(self._supervisors):
            self._forget(program, life)
        for shadow in self._shadows.values():
            shadow.close()
        self._shadows.clear()

    def _rules(self, program: str, orders: list[Order]) -> list[Rule]:
        self._orders.update((order.id, order) for order in orders)
        waiting = [order.rule for order in orders if order.id not in self._fired]
        # A fault that lasts has fired in an earlier life; in this one it meets every such call from the first on.
        lasting = [self._orders[id_].rule for id_, whose in self._lasting.items() if whose == program]
        return waiting + [replace(rule, nth=1, life=None) for rule in lasting]

    def _step(self, program: str, life: int) -> None:
        try:
            supervisor = self._supervisors.get((program, life))
            if supervisor is not None:
                supervisor.step()
        except BaseException:
            # A call whose supervisor failed must not be held for ever; the error itself is the caller's.
            self._forget(program, life)
            raise

    def _on_event(self, program: str, life: int, event: Event) -> None:
        if isinstance(event, Call):
            self._report(Report(program, life, event, self._losses(program, life) if self._surveyed else ()))
        elif isinstance(event, Fired):
            self._on_fired(program, life, event)
        else:
            if isinstance(event, Ended):
                self._forget(program, life)
            self._report(Report(program, life, event))

    def _on_fired(self, program: str, life: int, event: Fired) -> None:
        order = self._orders[event.rule_id]
        if order.id in self._fired:
            return  # One that lasts has been told of, and a child that escaped its life may have met it as well.
        self._fired.add(order.id)
        if order.lasts:
            self._lasting[order.id] = program
        lossless = order.power_loss is not None and not self._cut(program, life, order.power_loss)
        size, tail = _file_now(self._data[program], event.point)
        self._report(Report(program, life, event, file_bytes=size, tail=tail, lossless=lossless))

    def _losses(self, program: str, life: int) -> tuple[str, ...]:
        """The states in which a power cut now would leave less than a kill does."""
        return tuple(state.name for state in self._crash_states(program, life) if not state.lossless)

    def _cut(self, program: str, life: int, wanted: str) -> bool:
        """Note the state that the disk is to be in before the next life; False when there is no such state here."""
        for state in self._crash_states(program, life):
            if state.name == wanted and not state.lossless:
                self._to_lose[program] = state
                return True
        return False

    def _crash_states(self, program: str, life: int) -> list[CrashState]:
        try:
            return self._shadows[self._data[program]].crash_states()
        except OSError as error:
            self._lost(program, life, f"what a power loss would leave of {program} cannot be told: {error}")
            return []

    def _lost(self, program: str, life: int, reason: str) -> None:
        self._report(Report(program, life, Lost(reason, time.monotonic())))

    def _forget(self, program: str, life: int) -> None:
        supervisor = self._supervisors.pop((program, life), None)
        if supervisor is not None:
            self._unwatch(supervisor.fileno())
            supervisor.close()


def _file_now(data: Path, point: str) -> tuple[int | None, bytes | None]:
    """Length and last bytes of the file that a point names, as they are now; None for what is no file."""
    head, _, place = point.partition(":")
    if head.endswith("/send"):
        return None, None
    with contextlib.suppress(OSError), open(os.open(data / place.rpartition("#")[0], _O_LOOK), "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            file.seek(max(0, status.st_size - _TAIL_BYTES))
            return status.st_size, file.read(_TAIL_BYTES)
    return None, None
