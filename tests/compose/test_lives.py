"""What a life of a container tells, with an engine of a few lines in the place of Docker's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaoskit.runtime.compose.lives import Life, Log

_DEADLINE_S = 20.0
_STARTED = "2026-11-22T02:30:00.5Z"


class _Events:
    """A stream of events: the deaths of a container, then its end, as when the engine is stopped."""

    def __init__(self, codes: list[int]) -> None:
        self._codes = codes
        self.closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter({"Actor": {"Attributes": {"exitCode": str(code)}}} for code in self._codes)

    def close(self) -> None:
        self.closed = True


class _Engine:
    """Starts one container, which prints two lines and ends."""

    def __init__(self, codes: list[int]) -> None:
        self.api = self
        self.deaths = _Events(codes)

    def attach(self, container: str, **_: object) -> Iterator[bytes]:
        return iter((b"Processing ", b"chunk 1\nDone\n"))

    def start(self, container: str) -> None:
        """It prints what it prints."""

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"State": {"StartedAt": _STARTED, "Pid": 7}}

    def events(self, since: str, filters: dict[str, str], decode: bool) -> _Events:
        assert (since, filters["event"]) == ("1795314600.5", "die")
        return self.deaths


async def _heard(codes: list[int], log: Log) -> list[object]:
    told: asyncio.Queue[object] = asyncio.Queue()
    engine: Any = _Engine(codes)
    life = Life(
        engine, "c" * 64, log, told.put_nowait, told.put_nowait, lambda reason: told.put_nowait(ValueError(reason))
    )
    assert await life.begin() == 7
    async with asyncio.timeout(_DEADLINE_S):
        return [await told.get() for _ in range(3)]


def test_lines_come_before_the_code_and_a_signal_is_negative(tmp_path: Path) -> None:
    log = Log(tmp_path / "worker.log")
    assert asyncio.run(_heard([137, 0], log)) == ["Processing chunk 1", "Done", -9]
    assert (tmp_path / "worker.log").read_bytes() == b"Processing chunk 1\nDone\n"


def test_an_engine_that_ends_before_it_told_of_the_end_is_lost(tmp_path: Path) -> None:
    *lines, lost = asyncio.run(_heard([], Log(tmp_path / "worker.log")))
    assert lines == ["Processing chunk 1", "Done"]
    assert "the Docker engine does not answer any more" in repr(lost)


def test_what_a_container_prints_after_its_run_goes_nowhere(tmp_path: Path) -> None:
    log = Log(tmp_path / "worker.log")
    log.close()
    assert len(asyncio.run(_heard([0], log))) == 3
    assert (tmp_path / "worker.log").read_bytes() == b""
