"""What the agent needs to end a broker and to see it come back: whose port it is, a signal, an answer."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from chaoskit.agent.messages import First, MessageStep, MessageSteps
from chaoskit.agent.process import Process, listener
from chaoskit.agent.reaching import answers
from chaoskit.broker import EmbeddedBroker
from chaoskit.proxy import Seen

_WAITS = (
    "import signal, socket; s = socket.create_server(('127.0.0.1', 0)); "
    "print(s.getsockname()[1], flush=True); signal.pause()"
)


def test_who_listens_on_a_port_is_found_behind_a_shell_that_started_it() -> None:
    shell = subprocess.Popen(
        ["sh", "-c", f'{sys.executable} -c "{_WAITS}"; true'], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert shell.stdout is not None
        port = int(shell.stdout.readline())
        found = listener(port, beside=shell.pid)
        assert found is not None
        assert found not in (shell.pid, os.getpid())
        process = Process(found)
        process.send(signal.SIGTERM)
        assert shell.wait(10) == 0
        process.close()
        assert listener(port, beside=os.getpid()) is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.communicate()


def test_a_process_that_is_not_known_or_has_ended_is_left_alone() -> None:
    child = subprocess.Popen(["true"])
    process = Process(child.pid)
    child.wait()
    process.send(signal.SIGKILL)
    process.close()
    process.send(signal.SIGKILL)
    Process(0).send(signal.SIGKILL)
    Process(child.pid).close()


def test_an_open_port_alone_is_no_answer() -> None:
    async def ask() -> list[bool]:
        broker = EmbeddedBroker()
        await broker.start()
        upstream = ("127.0.0.1", broker.port)
        found = [await answers(upstream)]
        broker.crash()
        found.append(await answers(upstream))
        broker.restart()
        found.append(await answers(upstream))
        await broker.close()
        found.append(await answers(upstream))
        with socket.create_server(("127.0.0.1", 0)) as silent:
            found.append(await answers(silent.getsockname()[:2]))
        return found

    assert asyncio.run(ask()) == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("first", "target", "alive"),
    [("kill-broker", "broker", False), ("cut", "worker", True)],
    ids=["broker", "connection"],
)
def test_a_step_waits_for_a_broker_that_is_up_or_a_connection(first: First, target: str, alive: bool) -> None:
    there = False
    step = MessageStep(0, "published", "q", 1, target, first=first)
    steps = MessageSteps([step], lambda program: alive, lambda step: there)
    one, two = (Seen("published", "test-runner", "q", nth) for nth in (1, 2))
    assert steps.decide(one).due == ()
    there = True
    assert steps.decide(two).due == (step,)
