"""Work at the engine that is not left half done when whoever waits for it is cancelled."""

import asyncio
import threading

import pytest

from chaoskit.runtime.compose.uncancelled import in_thread, together

_DEADLINE_S = 20.0


def test_who_is_cancelled_twice_still_waits_for_its_thread() -> None:
    async def work() -> None:
        entered, leave, made = threading.Event(), threading.Event(), []

        def make() -> None:
            entered.set()
            leave.wait(_DEADLINE_S)
            made.append("a container")

        waiting = asyncio.ensure_future(in_thread(make))
        await asyncio.to_thread(entered.wait, _DEADLINE_S)
        for _ in range(2):
            waiting.cancel()
            done, _pending = await asyncio.wait([waiting], timeout=0.05)
            assert not done
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert made == ["a container"]

    asyncio.run(work())


def test_when_one_of_several_fails_the_others_are_at_their_end_before_it_is_told() -> None:
    async def work() -> None:
        ended = []

        async def fails() -> None:
            raise ValueError("no agent")

        async def goes_on() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.to_thread(ended.append, "compose")

        with pytest.raises(ValueError, match="no agent"):
            await together(fails(), goes_on())
        assert ended == ["compose"]

    asyncio.run(work())
