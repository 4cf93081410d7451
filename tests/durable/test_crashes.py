"""Every crash point of the stateful protocol, one at a time and in bounded pairs, by kill, power loss and errno."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from .machine import Fault, Machine
from .pipeline import Chunk, Pipeline, Worker

# Two clients, interleaved; a duplicate in a row, and one after the client is finished. No duplicate of B1, because it
# would heal the loss of the original.
CHUNKS = [
    Chunk("A", 1),
    Chunk("B", 1),
    Chunk("A", 1),
    Chunk("A", 2),
    Chunk("B", 2),
    Chunk("B", 2),
    Chunk("A", 1),
]
ERRNOS = ("ENOSPC", "EIO")
PowerCut = Callable[[Machine], None]
POWER_CUTS: dict[str, PowerCut] = {
    "durable only": lambda machine: machine.power_cut(),
    "all entries": lambda machine: machine.power_cut(entries_of_kernel=True),
    "all entries, half of the tails": lambda machine: machine.power_cut(entries_of_kernel=True, tail=0.5),
    "A.csv spared": lambda machine: machine.power_cut(spared="metadata/A.csv"),
    "B's marker spared": lambda machine: machine.power_cut(spared="metadata/done/B"),
}


class Lab:
    """Runs pipelines, each on a machine of its own."""

    def __init__(self, directory: Path, make_worker: Callable[[Pipeline], Worker] = Worker) -> None:
        self._directory = directory
        self._numbers = count()
        self._make_worker = make_worker

    def pipeline(self, *faults: Fault) -> Pipeline:
        machine = Machine(self._directory / str(next(self._numbers)))
        machine.plan(*faults)
        return Pipeline(machine, CHUNKS, 2, make_worker=self._make_worker)

    def complaints(self, *faults: Fault, after_death: dict[int, Callable[[Machine], None]] | None = None) -> list[str]:
        pipeline = self.pipeline(*faults)
        pipeline.on_death = lambda deaths: (after_death or {}).get(deaths, lambda _machine: None)(pipeline.machine)
        pipeline.run()
        return pipeline.verdict()

    def calls(self) -> list[str]:
        pipeline = self.pipeline()
        pipeline.run()
        assert pipeline.verdict() == []
        return pipeline.machine.calls

    def kills(self) -> Iterator[Fault]:
        """A kill before each call, and inside each write after each of its bytes."""
        for at, call in enumerate(self.calls()):
            yield Fault(at, "kill")
            if call.startswith("write"):
                longest = len("msg_id,chunk_number,value\nA00000001,1,10\n")
                yield from (Fault(at, "tear", cut_bytes) for cut_bytes in range(1, longest))


@pytest.fixture
def lab(quick_path: Path) -> Lab:
    return Lab(quick_path)


def failures(experiments: Iterator[tuple[object, list[str]]]) -> list[tuple[object, list[str]]]:
    return [(what, complaints) for what, complaints in experiments if complaints]


def kill_experiments(lab: Lab) -> Iterator[tuple[object, list[str]]]:
    for fault in lab.kills():
        yield fault, lab.complaints(fault)


def power_experiments(lab: Lab) -> Iterator[tuple[object, list[str]]]:
    for at in range(len(lab.calls())):
        for name, cut in POWER_CUTS.items():
            yield (at, name), lab.complaints(Fault(at, "kill"), after_death={1: cut})


def errno_experiments(lab: Lab) -> Iterator[tuple[object, list[str]]]:
    """One errno or short write at each call, then a kill or a power cut soon after: memory hides what the disk lost."""
    for at in range(len(lab.calls())):
        for kind in (*ERRNOS, "short"):
            fault = Fault(at, kind, cut_bytes=3)
            yield fault, lab.complaints(fault)
            for later in range(at + 1, at + 13):
                kill = Fault(later, "kill")
                # Kills and power cuts in turn: what one call leaves behind is there for several of the next ones.
                power = {1: POWER_CUTS["durable only"]} if later % 2 else {}
                yield (fault, kill, bool(power)), lab.complaints(fault, kill, after_death=power)


def recovery_experiments(lab: Lab) -> Iterator[tuple[object, list[str]]]:
    """A kill, then a second one at each of the calls of the recovery and a little beyond."""
    for at, call in enumerate(lab.calls()):
        first = Fault(at, "tear", 7) if call.startswith("write") else Fault(at, "kill")
        for second in range(16):
            fault = Fault(second, "kill")
            replan = {1: lambda machine, fault=fault: machine.plan(fault)}
            yield (first, fault), lab.complaints(first, after_death=replan)
            power_then = {**replan, 2: POWER_CUTS["durable only"]}
            yield (first, fault, "power"), lab.complaints(first, after_death=power_then)


EXPERIMENTS = {
    "kill": kill_experiments,
    "power": power_experiments,
    "errno": errno_experiments,
    "recovery": recovery_experiments,
}


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_no_crash_point_loses_or_invents_anything(lab: Lab, kind: str) -> None:
    assert failures(EXPERIMENTS[kind](lab)) == []
