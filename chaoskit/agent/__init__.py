"""The agent: what chaoskit has beside the containers of a run, in a container of its own.

It holds the taps and the proxies, and keeps the data of a run: everything that needs the pids, the network and the
volumes of the engine's machine, which may be another one than the user's. Plans, verdicts and the journal stay with the
engine (`chaoskit.engine`), which starts it, tells it what to do and hears what happens, one JSON object a line over
standard input and output (`chaoskit.agent.wire`).

    python -m chaoskit.agent

It runs on the plain Python image: standard library, pamqp, `chaoskit.tap` and `chaoskit.proxy`, nothing else.
"""
