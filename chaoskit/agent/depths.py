"""How full the broker's queues are, told when it is quiet: by passive declares, and what the proxies know.

Whoever waits for the end of a run needs to know that no queue holds anything, at a moment that is later than the last
message. So every message makes the last answer worthless, and the broker is asked again a little later.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from chaoskit.agent.tasks import raised
from chaoskit.proxy import ClientError, Inquirer, Login, Outage

# After a message the broker is left in peace for a moment, and asked once more when it must have noticed everything:
# what a dead consumer had not acknowledged comes back to the queue somewhat later than its connection ends.
_SETTLE_S = 0.015
_CONFIRM_S = 0.15
_RETRY_S = 0.25
_ANSWER_S = 5.0
_LOOKS, _LOOK_AGAIN_S = 6, 0.2


class Depths:
    """Asks the broker at `upstream` about the queues that were `noticed`, unless it is known to be away (`outage`).

    `tell` gets `{queue: [ready, unacknowledged, consumers]}`; `unacked` says what the proxies know of.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        unacked: Callable[[], Counter[str]],
        tell: Callable[[Mapping[str, list[int]]], None],
        outage: Outage | None = None,
    ) -> None:
        self._upstream, self._unacked, self._tell = upstream, unacked, tell
        self._outage = outage or Outage()
        self._login: Login | None = None
        self._inquirer: Inquirer | None = None
        self._queues: set[str] = set()
        self._activity = 0
        self._news = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._not_before_s = 0.0
        self._task = asyncio.ensure_future(self._work())
        self._task.add_done_callback(raised)

    def log_in_as(self, login: Login) -> None:
        """Ask as one of the programs does: with its name the broker lets us in."""
        if login != self._login:
            self._login = login
            self._disconnect()

    def noticed(self, queue: str) -> None:
        """Something happened at a queue ('' for none in particular)."""
        if queue:
            self._queues.add(queue)
        self._activity += 1
        self._news.set()

    def disconnected(self) -> None:
        """A connection broke: what was not acknowledged on it is in no queue, and with nobody, for a moment."""
        self._not_before_s = time.monotonic() + _CONFIRM_S
        self.noticed("")

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            while self._news.is_set():
                self._news.clear()
                await self._heard_within(max(_SETTLE_S, self._not_before_s - time.monotonic()))
            told = await self._report(None)
            if told is not None and not await self._heard_within(_CONFIRM_S):
                await self._report(told)

    async def _heard_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._news.wait()
        except TimeoutError:
            return False

    async def _report(self, known: Mapping[str, list[int]] | None) -> Mapping[str, list[int]] | None:
        """Ask and tell, unless something happened meanwhile or nothing is new; None when there is no answer."""
        at = self._activity
        depths = None if self._outage.is_away else await self.ask(self._depths)
        if depths is None:
            self._news.set()
            await asyncio.sleep(_RETRY_S)
            return None
        if at == self._activity and depths != known:
            self._tell(depths)
        return depths

    async def _depths(self, inquirer: Inquirer) -> Mapping[str, list[int]]:
        unacked = self._unacked()
        found = {}
        for queue in sorted(self._queues):
            depth = await inquirer.depth(queue)
            if depth is not None:
                found[queue] = [depth.ready, unacked[queue], depth.consumers]
        return found

    async def ask(
        self, question: Callable[[Inquirer], Awaitable[Mapping[str, list[int]]]]
    ) -> Mapping[str, list[int]] | None:
        """The answer to a question to the broker; None when it cannot be asked now."""
        if self._login is None:
            return {}
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    if self._inquirer is None or self._inquirer.closed:
                        self._inquirer = await Inquirer.connect(self._upstream, *self._login)
                    return await question(self._inquirer)
            except (OSError, TimeoutError, ClientError):
                self._disconnect()
                return None

    async def left(self) -> dict[str, int] | None:
        """How many messages each queue holds that is still there, also of a broker that was away; None: no answer."""
        for _ in range(_LOOKS):
            depths = await self.ask(self._depths)
            if depths is None or depths.keys() >= self._queues:
                break
            # A broker that has just been started finds its queues one by one.
            await asyncio.sleep(_LOOK_AGAIN_S)
        return None if depths is None else {queue: depth[0] + depth[1] for queue, depth in depths.items()}

    async def forget(self) -> None:
        """Delete every queue that was noticed: the next run finds an empty broker. Raises OSError."""
        refused: list[str] = []

        async def delete(inquirer: Inquirer) -> Mapping[str, list[int]]:
            for queue in sorted(self._queues):
                reason = await inquirer.delete_queue(queue)
                refused.extend([f"{queue} cannot be emptied for the next run: {reason}"] if reason else [])
            return {}

        if self._queues and await self.ask(delete) is None:
            raise OSError("the broker does not answer")
        if refused:
            raise OSError(refused[0])
        self._queues.clear()

    def _disconnect(self) -> None:
        if self._inquirer is not None:
            self._inquirer.close()
            self._inquirer = None

    def close(self) -> None:
        """Ask nothing more."""
        self._task.cancel()
        self._disconnect()
