"""Fixtures of the tests of chaoskit.durable."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A directory for thousands of tiny files: in shared memory where there is some, which is thirty times faster.

    What is durable is decided by the tests' own model, so a real disk would add nothing.
    """
    if not os.access(_SHARED_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY) as directory:
        yield Path(directory)
