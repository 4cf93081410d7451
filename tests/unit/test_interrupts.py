"""Interrupts while a loop runs, and bugs of ours in its callbacks."""

import asyncio

import pytest

from chaoskit.engine.interrupts import interruptible


def test_a_bug_in_a_callback_is_raised_and_not_taken_for_an_interrupt() -> None:
    async def work() -> None:
        def fails() -> None:
            raise KeyError("a bug")

        task = asyncio.current_task()
        assert task is not None
        with interruptible(task.cancel):
            asyncio.get_running_loop().call_soon(fails)
            await asyncio.Event().wait()

    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(work())
