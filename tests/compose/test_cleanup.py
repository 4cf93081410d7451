"""However a command on Compose ends, and whenever, the engine is as it was; after kill -9 it is so after `clean`."""

import random
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from chaoskit.runtime.compose import leftovers

from .commands import Chaoskit, Finished, Things, assert_nothing_left, things, wait_until

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("engine")]

RUN = ("run", "stateful", "--kills", "2", "--runtime", "compose", "--seed", "5")
EXPLORE = ("explore", "stateful", "--faults", "kill", "--only", "write:*", "--runtime", "compose", "--jobs", "2")
IMAGE = "debian:trixie-slim"
MOMENTS, SOAK_MOMENTS = 4, 30
# A run takes no less on two cores; when it was over before its moment, it was not interrupted.
RUN_S, EXPLORE_S = 8.0, 25.0


def moments(count: int, seed: int) -> Iterator[float]:
    """Moments between the start (0) and the end (1), the last ones first: one at random in each of `count` parts."""
    rng = random.Random(seed)
    for part in reversed(range(count)):
        yield (part + rng.random()) / count


def catches_sigterm(pid: int) -> bool:
    """Whether chaoskit has come so far that it decides what a signal does; before, Python alone does."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def children(pid: int) -> list[int]:
    """Processes below one, however deep."""
    found = subprocess.run(["pgrep", "--parent", str(pid)], capture_output=True, text=True, timeout=20).stdout.split()
    return [below for child in map(int, found) for below in (child, *children(child))]


def signalled(chaoskit: Chaoskit, args: tuple[str, ...], after_s: float, *numbers: signal.Signals) -> Finished:
    """Start a command, and send it these signals one after the other after a while; how it ended."""
    began_s = time.monotonic()
    process = chaoskit.popen(*args)
    wait_until("the signal handlers", lambda: catches_sigterm(process.pid), 30)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        for number in numbers:
            process.send_signal(number)
            # The second one comes while the first one is being obeyed.
            wait_for_a_little(process)
    took_s = time.monotonic() - began_s
    return replace(chaoskit.finish(process), took_s=took_s)


def wait_for_a_little(process: "subprocess.Popen[str]", seconds: float = 0.3) -> None:
    """Let it go on for a while, unless it ends."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def check(
    client: docker.DockerClient, chaoskit: Chaoskit, args: tuple[str, ...], within_s: float, count: int, seed: int
) -> None:
    """At `count` moments: exit code 130, one word about it, nothing on the engine, no file, no process."""
    before = things(client)
    temporary = chaoskit.directory / "temporary"
    temporary.mkdir()
    chaoskit.variables["TMPDIR"] = str(temporary)
    codes = []
    for n, moment in enumerate(moments(count, seed)):
        after_s = moment * within_s
        numbers = ((signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM), (signal.SIGHUP,))[n % 4]
        done = signalled(chaoskit, args, after_s, *numbers)
        told = f"{[number.name for number in numbers]} after {after_s:.2f} s: code {done.code}\n{done.text}"
        assert done.code in (130, 0), told
        assert done.code == 0 or "nterrupted" in done.text, told
        assert_nothing_left(client, before, chaoskit.owners, told)
        codes.append(done.code)
        if done.code == 0:
            # It was over before its moment: this machine is quicker.
            within_s = min(within_s, done.took_s)
    assert codes.count(130) >= count * 2 // 3
    assert list(temporary.iterdir()) == []


def test_a_run_that_is_interrupted_leaves_the_engine_as_it_was(client: docker.DockerClient, chaoskit: Chaoskit) -> None:
    check(client, chaoskit, RUN, RUN_S, MOMENTS, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_thirty_interrupts_of_a_run_leave_the_engine_as_it_was(client: docker.DockerClient, chaoskit: Chaoskit) -> None:
    check(client, chaoskit, RUN, RUN_S, SOAK_MOMENTS, seed=2)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_interrupts_of_an_exploration_leave_the_engine_as_it_was(
    client: docker.DockerClient, chaoskit: Chaoskit
) -> None:
    check(client, chaoskit, EXPLORE, EXPLORE_S, SOAK_MOMENTS // 2, seed=3)


# --- an exception inside ---

_FAILING = """
import sys
from chaoskit import journal
append, count = journal.Writer.append, [0]
def failing(self, event):
    count[0] += 1
    if count[0] == {nth}:
        raise {error}
    append(self, event)
journal.Writer.append = failing
from chaoskit.cli.start import main
sys.argv = ["chaoskit", *{args!r}]
main()
"""


@pytest.mark.parametrize(
    ("nth", "error"),
    [
        pytest.param(1, "OSError(28, 'No space left on device')", marks=pytest.mark.soak),
        (40, "KeyError('a bug')"),
    ],
)
def test_an_exception_inside_leaves_the_engine_as_it_was(
    client: docker.DockerClient, chaoskit: Chaoskit, nth: int, error: str
) -> None:
    before = things(client)
    script = _FAILING.format(nth=nth, error=error, args=list(RUN))
    process = chaoskit.start([sys.executable, "-c", script])
    out, err = process.communicate(timeout=120)
    assert process.returncode not in (0, 4), out + err
    assert error.partition("(")[0] in err or "No space left" in err
    assert_nothing_left(client, before, chaoskit.owners, out + err)


# --- kill -9 ---


class Foreign:
    """A container, a network, a volume and an image that are not ours, in the vicinity of what is."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client, self.name = client, f"not-chaoskits-{uuid.uuid4().hex[:8]}"
        client.images.get(IMAGE).tag(self.name)
        self.network = client.networks.create(self.name, labels={"com.docker.compose.project": "chaoskit-mine"})
        self.volume = client.volumes.create(self.name)
        self.container = client.containers.run(
            self.name,
            ["sleep", "infinity"],
            name=self.name,
            detach=True,
            network=self.name,
            volumes={self.name: {"bind": "/data", "mode": "rw"}},
            labels={"chaoskit": "image"},
        )

    def assert_there(self) -> None:
        self.container.reload()
        assert self.container.status == "running"
        self.network.reload()
        self.volume.reload()
        assert self._client.images.get(self.name)

    def close(self) -> None:
        self.container.remove(force=True, v=True)
        self.network.remove()
        self.volume.remove()
        self._client.images.remove(self.name)


@pytest.fixture
def foreign(client: docker.DockerClient) -> Iterator[Foreign]:
    made = Foreign(client)
    yield made
    made.close()


def kill(chaoskit: Chaoskit, args: tuple[str, ...], after_s: float) -> None:
    """SIGKILL a command after a while, and wait until what it had started has noticed."""
    process = chaoskit.popen(*args)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        below = children(process.pid)
        process.kill()
        process.communicate()
        wait_until("the end of what it started", lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 90)
    else:
        process.communicate()


def check_killed(client: docker.DockerClient, chaoskit: Chaoskit, foreign: Foreign, count: int, seed: int) -> None:
    before: Things = things(client)
    found, within_s = 0, RUN_S
    for moment in moments(count, seed):
        after_s = moment * within_s
        kill(chaoskit, RUN, after_s)
        left = things(client).of(chaoskit.owners)
        removed = leftovers.remove_orphans(client)
        found += bool(left)
        if not left:
            # It was over before its moment: this machine is quicker.
            within_s *= 0.6
        assert len(removed) >= len(left)
        assert_nothing_left(client, before, chaoskit.owners, f"killed after {after_s:.2f} s, it had left {left}")
        foreign.assert_there()
    assert found >= count // 2, "it was hardly ever killed in the middle"


def test_what_kill_nine_left_is_found_and_nothing_else_is_touched(
    client: docker.DockerClient, chaoskit: Chaoskit, foreign: Foreign, orphans: None
) -> None:
    check_killed(client, chaoskit, foreign, 2, seed=4)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_what_fifteen_kills_left_is_found_and_nothing_else_is_touched(
    client: docker.DockerClient, chaoskit: Chaoskit, foreign: Foreign, orphans: None
) -> None:
    check_killed(client, chaoskit, foreign, SOAK_MOMENTS // 2, seed=5)


@pytest.mark.parametrize("after_s", [2.5, pytest.param(5.0, marks=pytest.mark.soak)])
def test_clean_removes_what_a_killed_chaoskit_left(
    client: docker.DockerClient, chaoskit: Chaoskit, foreign: Foreign, after_s: float, orphans: None
) -> None:
    """At once: a Compose that goes on by itself is ended first, so that nothing comes after it."""
    before = things(client)
    process = chaoskit.popen(*RUN)
    wait_until("what it makes", lambda: things(client).of(chaoskit.owners))
    wait_for_a_little(process, after_s)
    process.kill()
    process.communicate()
    done = chaoskit("clean")
    assert done.code == 0, done.text
    assert re.search("removed (container|network|volume) chaoskit-", done.out), done.text
    assert_nothing_left(client, before, chaoskit.owners, done.text)
    foreign.assert_there()
