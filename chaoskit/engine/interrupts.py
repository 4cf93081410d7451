"""Ctrl-C, SIGTERM and a closed terminal while a loop runs: told to whoever ends things in order.

It ends nothing by itself.
"""

import asyncio
import contextlib
import signal
import weakref
from collections.abc import Callable, Iterator
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_busy: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


@contextlib.contextmanager
def interruptible(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call `interrupt` in the loop at each such signal, and when a callback raises: that is raised at the end.

    SIGHUP stays ignored below nohup. SIGINT does not: a shell that starts a job with `&` ignores it for no such reason.
    Inside of such a block another one hears nothing: whoever was there first ends everything, the runs that it makes
    side by side among them.
    """
    loop = asyncio.get_running_loop()
    if loop in _busy:
        yield
        return
    _busy.add(loop)
    try:
        with _heard(loop, interrupt):
            yield
    finally:
        _busy.discard(loop)


@contextlib.contextmanager
def _heard(loop: asyncio.AbstractEventLoop, interrupt: Callable[[], object]) -> Iterator[None]:
    failures: list[BaseException] = []

    def failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failures.append(context.get("exception") or RuntimeError(context["message"]))
        interrupt()

    before = {number: signal.getsignal(number) for number in _NUMBERS}
    heard = [n for n, handler in before.items() if n != signal.SIGHUP or handler is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, interrupt)
    loop.set_exception_handler(failed)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
        loop.set_exception_handler(None)
        if failures:
            # Also in place of the cancellation that it was the cause of: a bug of ours is no Ctrl-C.
            raise failures[0]
