"""What all tests share."""

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def orphans() -> Iterator[None]:
    """`chaoskit clean` removes what any dead chaoskit left on the machine: tests that have such things, or run it."""
    with Path(tempfile.gettempdir(), "chaoskit-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
