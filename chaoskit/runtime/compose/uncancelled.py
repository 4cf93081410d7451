"""Work that is not left half done: a call of the engine goes on in its thread when nobody waits for it any more.

What it then makes would be made after everything was removed. So whoever is cancelled waits for the end of such work
first; each piece of it has a time limit of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Wait for `work`, however often this is cancelled; then raise CancelledError, unless `work` failed itself."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


async def in_thread(call: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
    """`asyncio.to_thread`, and its end."""
    return await to_its_end(asyncio.to_thread(call, *arguments, **named))


async def together(*works: Awaitable[T]) -> list[T]:
    """What `works` give. When one fails, or this is cancelled, the others are cancelled, and waited for."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
