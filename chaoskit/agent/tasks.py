"""Tasks that nobody waits for: what goes wrong in one is raised in the loop, which tells it (`chaoskit.agent.main`)."""

import asyncio


def raised(task: "asyncio.Task[object]") -> None:
    """A callback for such a task. Kept and not looked at, it would fail without a word."""
    if not task.cancelled():
        task.result()
