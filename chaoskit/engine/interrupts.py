"""Ctrl-C, SIGTERM and a closed terminal while a loop runs: told to whoever ends things in order.

It ends nothing by itself.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call `interrupt` in the loop at each such signal, and when a callback raises: that is raised at the end.

    SIGHUP stays ignored below nohup. SIGINT does not: a shell that starts a job with `&` ignores it for no such reason.
    """
    loop = asyncio.get_running_loop()
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
        raise failures[0]
