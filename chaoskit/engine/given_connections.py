"""A broker of the user's own behind the proxies of a local run, as the pipeline sees it.

How full its queues are is asked of it over AMQP, by passive declares, whenever it is quiet; what the proxies see in
between makes the last answer worthless. The queues that a run used are deleted when it ends, so that the next one, with
the same names, begins with empty ones. It is not hurt: it is not ours.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from chaoskit.agent.depths import Depths
from chaoskit.engine.connections import LocalConnections
from chaoskit.engine.executor import Executor
from chaoskit.engine.pipeline import Depth, Pipeline
from chaoskit.model.errors import EnvironmentProblem
from chaoskit.model.given_broker import PASSWORD, Broker
from chaoskit.proxy import Action, Change, ClientError, Inquirer, Login, Seen

_CONNECT_S = 5.0


class GivenConnections(LocalConnections):
    """Proxies to the broker at `given`."""

    def __init__(self, pipeline: Pipeline, executor: Executor, given: Broker) -> None:
        super().__init__(pipeline, executor)
        self._given = given
        self._user, self._password = given.user, os.environ.get(PASSWORD, given.password)
        self._asking: Depths | None = None
        self._known: dict[str, Depth] = {}
        self._fresh = True

    async def start(self) -> None:
        """Listen on loopback. Raises EnvironmentProblem when no port can be had, or the broker does not let us in."""
        upstream = self._given.host, self._given.port
        await self._log_in_once(upstream)
        self._asking = Depths(upstream, self._unacked, self._on_depths)
        try:
            await self._start_proxies(upstream)
        except OSError as e:
            await self.close()
            raise EnvironmentProblem(f"no port on this machine for the proxies: {e.strerror or e}") from None

    async def _log_in_once(self, upstream: tuple[str, int]) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                inquirer = await Inquirer.connect(upstream, self._user, self._password, self._given.virtual_host)
            inquirer.close()
        except (OSError, TimeoutError, ClientError) as e:
            why = getattr(e, "strerror", None) or str(e) or f"no answer within {_CONNECT_S:g} s"
            raise EnvironmentProblem(
                f"the broker at {self._given} does not let {self._user!r} in: {why}; start it, or mend `broker` "
                f"(--broker USER@HOST:PORT, ${PASSWORD})"
            ) from None

    # --- what is seen ---

    def _noticed(self, queue: str) -> None:
        self._fresh = False
        if self._asking is not None:
            self._asking.noticed(queue)

    def _on_login(self, login: Login) -> None:
        if self._injector is not None:
            self._injector.log_in_as(login)
        if self._asking is not None:
            self._asking.log_in_as(login)

    def _on_message(self, seen: Seen) -> Action:
        self._noticed(seen.queue)
        return super()._on_message(seen)

    def _on_change(self, change: Change) -> None:
        self._noticed(change.detail if change.kind in ("consuming", "cancelled") else "")
        super()._on_change(change)

    def _on_depths(self, queues: Mapping[str, list[int]]) -> None:
        self._known = {name: Depth(*depth) for name, depth in queues.items()}
        self._fresh = True
        self._pipeline.changed.set()

    def _unacked(self) -> Counter[str]:
        return sum((proxy.unacked() for proxy in self._proxies.values()), Counter())

    # --- what the pipeline asks ---

    def address(self, program: str) -> Mapping[str, str]:
        return {**super().address(program), "RABBITMQ_VHOST": self._given.virtual_host}

    def queues(self) -> Mapping[str, Depth]:
        return self._known

    def drained(self) -> bool:
        return self._fresh and super().drained()

    def in_progress(self) -> bool:
        return not self._fresh or super().in_progress()

    async def close(self) -> None:
        await super().close()
        if self._asking is not None:
            if self._given.deletes:
                # A broker that is gone has told so already; what it kept is found by the next run.
                with suppress(OSError):
                    await self._asking.forget()
            self._asking.close()
