"""One copy of data after the other, whoever asked for it and whether it is still wanted."""

import asyncio
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaoskit.runtime.compose.stack import Stack

_DEADLINE_S = 20.0


class Engine:
    """Sends a directory with one file; the first time it waits in the middle until it may go on."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.entered, self.leave = threading.Event(), threading.Event()

    def get_archive(self, container: str, path: str) -> tuple[Iterator[bytes], dict[str, Any]]:
        return self._sent(), {}

    def _sent(self) -> Iterator[bytes]:
        self.told.append("begins")
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            info = tarfile.TarInfo("volume/rows.csv")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"1,2"))
        self.entered.set()
        self.leave.wait(_DEADLINE_S)
        yield made.getvalue()
        self.told.append("ends")


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_second_fetch_waits_for_the_end_of_the_first(tmp_path: Path, cancelled: bool) -> None:
    async def work() -> None:
        scenario: Any = None
        stack, engine = Stack(scenario, lambda machine: b"", lambda what, passing: None), Engine()
        client: Any = SimpleNamespace(api=engine)
        stack._client = client
        first = asyncio.ensure_future(stack.fetch("/data/0", tmp_path / "data"))
        await asyncio.to_thread(engine.entered.wait, _DEADLINE_S)
        if cancelled:
            first.cancel()
        second = asyncio.ensure_future(stack.fetch("/data/0", tmp_path / "data"))
        await asyncio.wait([second], timeout=0.1)
        engine.leave.set()
        results = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError if cancelled else type(None), type(None)]
        assert engine.told == ["begins", "ends"] * 2
        assert (tmp_path / "data/rows.csv").read_bytes() == b"1,2"

    asyncio.run(work())
