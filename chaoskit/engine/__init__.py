"""The engine: the only floor with a clock, an event loop and wiring.

One asyncio loop in one thread runs the broker, the proxies, the tap and the executor, so what happens in a run has
one order, and nothing needs a lock.
"""
