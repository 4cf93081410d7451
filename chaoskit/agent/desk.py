"""Carries out the engine's commands, one method a command, and tells it what happens.

Of each run the agent knows the steps that it has to carry out itself, because they fall while a call or a message is
held: those at calls (`chaoskit.tap.station`) and those at messages. Everything else is decided by the engine.
"""

import asyncio
import os
import platform
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chaoskit import tap
from chaoskit.agent import volumes as data_volumes
from chaoskit.agent.broker import Broker
from chaoskit.agent.doors import Doors
from chaoskit.agent.messages import Decision, MessageStep, MessageSteps
from chaoskit.agent.peers import Peers
from chaoskit.agent.revisits import Revisits
from chaoskit.agent.wire import AMQP_PORT
from chaoskit.proxy import Seen
from chaoskit.tap.messages import Order, Report
from chaoskit.tap.station import Station

_BROKER_BACK_S = 120.0


class _Expected(NamedTuple):
    """A life that is about to begin: the data directory as it sees it and as we do, and what is to happen to it."""

    life: int
    root: Path
    data: Path
    orders: list[Order]


class Desk:
    """The agent of one project. `tell(event, **fields)` sends an event."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._peers = Peers()
        self._doors = Doors(self._arrived, self._tap_failed)
        self._broker: Broker | None = None
        self._station: Station | None = None
        self._steps = MessageSteps([], self._alive)
        self._expected: dict[str, _Expected] = {}
        self._early: dict[str, int] = {}
        self._data: dict[str, Path] = {}
        self._revisits = Revisits()
        self._pidfds: dict[str, int] = {}

    def hello(self) -> dict[str, Any]:
        """The first thing that the engine hears."""
        return {"machine": platform.machine(), "tap": tap.unavailable() or "", "now_s": time.monotonic()}

    async def do(self, command: str, arguments: dict[str, Any]) -> Any:
        """Carry out a command. Raises ValueError for an unknown one, and whatever the command does."""
        method = getattr(self, f"do_{command}", None)
        if method is None:
            raise ValueError(f"the agent knows no command {command!r}")
        return await method(**arguments)

    # --- the commands ---

    async def do_clock(self) -> float:
        """Seconds of this machine's monotonic clock, by which every event is dated."""
        return time.monotonic()

    async def do_front(self, host: str, ports: list[int], pid: int) -> None:
        """Stand before the broker at `host`; `pid` is its first process on this machine. Raises OSError."""
        self._broker = Broker(host, ports, self._peers, self._tell, self._decided)
        self._broker.runs_as(pid)
        await self._broker.start()

    async def do_keep(self, volumes: list[str]) -> None:
        """Keep what the volumes hold, for `begin`."""
        await asyncio.to_thread(data_volumes.keep, volumes)

    async def do_begin(self, volumes: list[str], steps: list[dict[str, Any]], surveyed: bool, powered: bool) -> None:
        """A run begins: empty broker, volumes as they were kept, these steps at messages."""
        self._end_run()
        self._revisits = Revisits()
        if self._broker is not None:
            await self._broker.reset()
        await asyncio.to_thread(data_volumes.restore, volumes)
        loop = asyncio.get_running_loop()
        self._steps = MessageSteps([MessageStep.from_json(step) for step in steps], self._alive, self._there)
        self._tell("begun")
        if self._broker is not None:
            self._broker.begin(self._steps)
        self._station = Station(
            self._on_report, loop.add_reader, loop.remove_reader, surveyed=surveyed, powered=powered
        )

    async def do_prepare(
        self,
        program: str,
        container: str,
        life: int,
        tapped: bool,
        root: str,
        data: str,
        orders: list[dict[str, Any]],
        digested: list[str],
    ) -> str:
        """A life is about to begin in a container. A tapped one finds its door open.

        The answer is a digest of what is in the volumes that are to be `digested`.
        """
        self._peers.names = {name: other for name, other in self._peers.names.items() if other != program}
        self._peers.names[container] = program
        if tapped:
            made = [Order.from_json(order) for order in orders]
            expected = _Expected(life, Path(root), Path(data), made)
            if program in self._early:
                self._supervise(program, expected, self._early.pop(program))
            else:
                self._expected[program] = expected
                self._doors.open(program)
        folders = [data_volumes.directory(volume) for volume in digested]
        # Others are alive, and their calls and messages must not wait for this.
        return "".join([await asyncio.to_thread(data_volumes.digest, folder) for folder in folders])

    async def do_started(self, program: str, pid: int) -> None:
        """A life has begun; `pid` is its first process on this machine."""
        self._forget(program)
        with suppress(ProcessLookupError):
            self._pidfds[program] = os.pidfd_open(pid)

    async def do_ended(self, program: str) -> None:
        """A life has ended."""
        self._forget(program)

    async def do_lose(self, program: str, others: list[str]) -> bool:
        """Play the power cut that a step asked for, before the next life; whether there was one.

        The `others` share the directory: they stand still meanwhile, so that they see no half of it.
        """
        if program in self._early:
            raise OSError(f"the power loss of {program} could not be played: the engine had started it again already")
        stopped = [other for other in others if self._signal(other, signal.SIGSTOP)]
        try:
            return self._station is not None and self._station.lose(program)
        except OSError as error:
            raise OSError(f"the power loss of {program} could not be played: {error}") from error
        finally:
            for other in stopped:
                self._signal(other, signal.SIGCONT)

    async def do_heal(self, order: str) -> None:
        """End a lasting fault."""
        if self._station is not None:
            self._station.heal(order)

    async def do_cancel(self) -> None:
        """No step at a message is to happen any more."""
        self._steps.cancel()

    async def do_cut(self, program: str) -> None:
        """Break a program's connections to the broker."""
        if self._broker is not None:
            self._broker.cut(program)

    async def do_disconnect(self, program: str) -> None:
        """Let nothing of a program through to the broker; its container's networks are the engine's part."""
        if self._broker is not None:
            self._broker.disconnect(program)

    async def do_reconnect(self, program: str) -> None:
        """Undo `disconnect`."""
        if self._broker is not None:
            self._broker.reconnect(program)

    async def do_hurt_broker(self, kill: bool) -> None:
        """The broker is about to end."""
        if self._broker is not None:
            self._broker.hurt(kill)

    async def do_broker_ended(self) -> None:
        """The broker's container has ended."""
        if self._broker is not None:
            self._broker.has_ended()

    async def do_broker_started(self, pid: int) -> None:
        """The broker's container was started again; an event says when the broker answers."""
        if self._broker is not None:
            self._broker.is_returning(pid)

    async def do_await_broker(self, pid: int) -> None:
        """The broker was started again between two runs: wait until it answers. Raises OSError."""
        if self._broker is not None:
            self._broker.runs_as(pid)
            try:
                async with asyncio.timeout(_BROKER_BACK_S):
                    await self._broker.returned()
            except TimeoutError:
                raise OSError(f"the broker was started again and does not answer after {_BROKER_BACK_S:g} s") from None

    async def do_send_late(self) -> None:
        """Publish the copies that were kept for the end."""
        if self._broker is not None:
            self._broker.send_late()

    async def do_signal(self, program: str, number: int) -> bool:
        """Send a signal to a program's first process; whether there is one."""
        return self._signal(program, number)

    async def do_quiet(self) -> None:
        """Nothing: the answer comes behind everything that was told before."""

    async def do_end(self) -> None:
        """A run is over: nothing is hurt any more."""
        self._end_run()

    # --- what happens ---

    def _alive(self, program: str) -> bool:
        return program in self._pidfds

    def _there(self, step: MessageStep) -> bool:
        if not step.first or self._broker is None:
            return not step.first
        if step.first == "cut":
            return self._broker.connected(step.target)
        return self._broker.is_up if step.first != "disconnect" else not self._broker.is_cut_off(step.target)

    def _arrived(self, program: str, listener_fd: int) -> None:
        """A launcher has come. One that the engine started before we were told waits until we are."""
        if self._station is None:
            raise OSError(0, "a launcher came that nobody expected")
        if program in self._expected:
            self._supervise(program, self._expected.pop(program), listener_fd)
        else:
            # The engine may start a program twice before we are told of the first time, which is over then.
            if program in self._early:
                os.close(self._early.pop(program))
            self._early[program] = listener_fd

    def _supervise(self, program: str, expected: _Expected, listener_fd: int) -> None:
        assert self._station is not None
        self._tell("arrived", program=program, life=expected.life)
        self._data[program] = expected.data
        self._station.supervise(
            listener_fd,
            program=program,
            life=expected.life,
            root=expected.root,
            data=expected.data,
            # Whatever network a program is on, the broker's port is where this container listens.
            broker=("rabbitmq", AMQP_PORT),
            orders=expected.orders,
        )

    def _tap_failed(self, program: str, reason: str) -> None:
        self._tell("tap-failed", program=program, reason=reason)

    def _on_report(self, report: Report) -> None:
        if isinstance(report.event, tap.Fired) and report.event.action == "kill":
            self._forget(report.program)
        later = self._revisits.file_of(report, self._data[report.program])
        self._tell("tap", report=report.to_json(), later=later)

    def _decided(self, decision: Decision, seen: Seen) -> None:
        point = f"{seen.program}/{seen.kind}:{seen.queue}#{seen.nth}"
        detail = f"message {seen.message_id}" if seen.message_id else ""
        for step in decision.due:
            struck = self._begin(step) or (bool(step.signal) and self._signal(step.target, step.signal))
            self._tell("fired" if struck else "due", index=step.index, point=point)
        for index in decision.fired:
            self._tell("fired", index=index, point=point, detail=detail)
        for index in decision.failed:
            self._tell("failed", index=index, reason=f"another step already has the message at {point}")

    def _begin(self, step: MessageStep) -> bool:
        """Do what has to be done while the message is held; whether that is all, or the engine does the rest."""
        if self._broker is None or not step.first:
            return False
        if step.first == "cut":
            self._broker.cut(step.target)
        elif step.first == "disconnect":
            self._broker.disconnect(step.target)
        else:
            self._broker.hurt(kill=step.first == "kill-broker")
        return step.first == "cut"

    def _signal(self, program: str, number: int) -> bool:
        pidfd = self._pidfds.get(program)
        if pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            self._forget(program)
            return False
        if number == signal.SIGKILL:
            self._forget(program)
        return True

    def _forget(self, program: str) -> None:
        pidfd = self._pidfds.pop(program, None)
        if pidfd is not None:
            os.close(pidfd)

    def _end_run(self) -> None:
        if self._station is not None:
            self._station.close()
            self._station = None
        self._expected.clear()
        for listener_fd in self._early.values():
            os.close(listener_fd)
        self._early.clear()
        for program in list(self._pidfds):
            self._forget(program)

    async def close(self) -> None:
        """Give everything back."""
        self._end_run()
        if self._broker is not None:
            await self._broker.close()
