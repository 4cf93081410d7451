"""The embedded broker and one proxy a program, as the pipeline sees them: addresses, consumers, drained or not."""

import asyncio
from collections.abc import Mapping

from chaoskit.broker.server import EmbeddedBroker
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Depth, Pipeline
from chaoskit.faults import MessageAction
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.events import BrokerState, EnvironmentLost, Flag, Message, NetworkState
from chaoskit.proxy import (
    FORWARD,
    Action,
    Change,
    Counts,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Injector,
    Login,
    Outage,
    Proxy,
    Seen,
    Topology,
)

_USER = _PASSWORD = "guest"
_HOST = "127.0.0.1"


class LocalConnections:
    """Broker and proxies of a local run; `start` comes before the first program."""

    def __init__(self, pipeline: Pipeline, executor: Executor) -> None:
        self._pipeline, self._executor = pipeline, executor
        self._broker = EmbeddedBroker({_USER: _PASSWORD}, on_change=pipeline.changed.set)
        self._user, self._password = _USER, _PASSWORD
        self._proxies: dict[str, Proxy] = {}
        self._injector: Injector | None = None
        self._sending_late: asyncio.Task[int] | None = None
        self._outage = Outage()
        self._stopping: asyncio.Task[None] | None = None
        self._consumed: set[str] = set()

    async def start(self) -> None:
        """Listen on loopback. Raises EnvironmentProblem when no port can be had."""
        try:
            await self._broker.start()
            await self._start_proxies((_HOST, self._broker.port))
        except OSError as e:
            await self.close()
            raise EnvironmentProblem(f"no port on {_HOST} for broker and proxies: {e.strerror or e}") from None

    async def _start_proxies(self, upstream: tuple[str, int]) -> None:
        topology, counts = Topology(), Counts()
        self._injector = Injector(
            upstream,
            self._on_message,
            user=self._user,
            password=self._password,
            on_change=self._on_change,
            counts=counts,
            topology=topology,
            outage=self._outage,
        )
        for program in self._pipeline.members:
            proxy = Proxy(
                program,
                upstream,
                self._on_message,
                on_change=self._on_change,
                counts=counts,
                topology=topology,
                injector=self._injector,
                outage=self._outage,
                on_login=self._on_login,
            )
            self._proxies[program] = proxy
            await proxy.start()

    def _on_message(self, seen: Seen) -> Action:
        event = Message(
            self._pipeline.now_s(),
            seen.program,
            seen.kind,
            seen.queue,
            seen.nth,
            seen.message_id,
            seen.size_bytes,
            seen.redelivered,
            seen.injected,
        )
        self._pipeline.emit(event)
        action = self._executor.on_message(event)
        return FORWARD if action is None else _as_proxy_action(action)

    def _on_login(self, login: Login) -> None:
        """Who a program is to the broker; the embedded one knows one user only."""

    def _on_change(self, change: Change) -> None:
        pipeline = self._pipeline
        if change.kind == "refused":
            pipeline.emit(EnvironmentLost(pipeline.now_s(), "broker", change.detail))
        elif change.kind == "copy-lost":
            pipeline.emit(EnvironmentLost(pipeline.now_s(), "proxy", f"a copy could not be sent: {change.detail}"))
        elif change.kind == "copy-away":
            pipeline.emit(Flag(pipeline.now_s(), "broker", f"a copy was lost with the broker: {change.detail}"))
        elif change.kind == "opaque":
            pipeline.emit(
                Flag(pipeline.now_s(), change.program, "speaks no AMQP to the broker: its messages are unseen")
            )
        pipeline.changed.set()

    # --- what the pipeline asks ---

    def address(self, program: str) -> Mapping[str, str]:
        return {
            "RABBITMQ_HOST": _HOST,
            "RABBITMQ_PORT": str(self._proxies[program].port),
            "RABBITMQ_USER": self._user,
            "RABBITMQ_PASS": self._password,
        }

    def proxy_port(self, program: str) -> int:
        """Where the program reaches the broker, so that the tap knows its sends."""
        return self._proxies[program].port

    def consuming(self, program: str) -> bool:
        return bool(self._proxies[program].consumers())

    def drained(self) -> bool:
        return not self._held() and not self._waiting()

    def in_progress(self) -> bool:
        depths = self.queues().values()
        return self._held() or any(depth.unacked or (depth.ready and depth.consumers) for depth in depths)

    def _held(self) -> bool:
        """A message is on its way in one of the proxies, or a copy of one."""
        late = self._sending_late is not None and not self._sending_late.done()
        delayed = any(proxy.delaying for proxy in self._proxies.values())
        return late or delayed or bool(self._injector and self._injector.busy)

    def _waiting(self) -> dict[str, str]:
        """Queues that hold messages for somebody who consumes, or did, with their depth in words."""
        found = {}
        for name, depth in self.queues().items():
            if depth.consumers:
                self._consumed.add(name)
            if name in self._consumed and (depth.ready or depth.unacked):
                found[name] = f"{name}: {depth.ready} ready, {depth.unacked} unacknowledged"
        return found

    def depths(self) -> str:
        return "; ".join(self._waiting().values())

    def queues(self) -> Mapping[str, Depth]:
        return {name: Depth(q.ready, q.unacked, q.consumers) for name, q in self._broker.queues().items()}

    def connected(self, program: str) -> bool:
        return self._proxies[program].connected

    def cut_off(self, program: str) -> bool:
        return self._proxies[program].cut_off

    def cut(self, program: str) -> None:
        self._proxies[program].cut()

    # --- networks and the broker, hurt ---

    def disconnect(self, program: str, for_s: float) -> None:
        proxy = self._proxies[program]
        # The first of two that overlap would otherwise give back what the second has taken.
        if not proxy.cut_off:
            proxy.disconnect()
            self._pipeline.emit(NetworkState(self._pipeline.now_s(), program, up=False))
            self._pipeline.later(for_s, lambda: self._reconnect(program))

    def _reconnect(self, program: str) -> None:
        self._proxies[program].reconnect()
        self._pipeline.emit(NetworkState(self._pipeline.now_s(), program, up=True))

    def kill_broker(self, for_s: float) -> None:
        before = self._depth_sums()
        self._broker.crash()
        self._broker_ended(before, for_s)

    def stop_broker(self, for_s: float) -> None:
        self._outage.begin(in_order=True)
        self._stopping = asyncio.ensure_future(self._stop_broker(for_s))
        # A bug of ours must not look like a broker that takes long.
        self._stopping.add_done_callback(lambda task: task.cancelled() or task.result())

    async def _stop_broker(self, for_s: float) -> None:
        before = self._depth_sums()
        await self._broker.stop()
        self._broker_ended(before, for_s)

    def _depth_sums(self) -> dict[str, int]:
        return {name: depth.ready + depth.unacked for name, depth in self._broker.queues().items()}

    def _broker_ended(self, before: dict[str, int], for_s: float) -> None:
        """It is gone: so is what was on its way to it, and it comes back later."""
        self._outage.begin(in_order=False)
        for proxy in self._proxies.values():
            if not proxy.cut_off:
                proxy.cut()
        self._pipeline.emit(BrokerState(self._pipeline.now_s(), up=False, queues=before))
        self._pipeline.later(for_s, self._start_broker)

    def _start_broker(self) -> None:
        self._broker.restart()
        self._outage.end()
        self._pipeline.emit(BrokerState(self._pipeline.now_s(), up=True, queues=self._depth_sums()))

    def broker_up(self) -> bool:
        return not self._outage.is_on

    def mending(self) -> bool:
        return self._outage.is_on or any(proxy.cut_off for proxy in self._proxies.values())

    def send_late(self) -> bool:
        if self._injector is None or not self._injector.late:
            return False
        self._sending_late = asyncio.ensure_future(self._injector.send_late())
        self._sending_late.add_done_callback(lambda _: self._pipeline.changed.set())
        return True

    async def close(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.wait([self._stopping])
        if self._injector is not None:
            await self._injector.close()
        for proxy in self._proxies.values():
            await proxy.close()
        await self._broker.close()


def _as_proxy_action(action: MessageAction) -> Action:
    made: dict[str, Action] = {
        "duplicate": Duplicate(action.copies, action.late),
        "delay": Delay(action.seconds),
        "cut": Cut(before=False),
        "drop": Drop(),
    }
    return made[action.kind]
