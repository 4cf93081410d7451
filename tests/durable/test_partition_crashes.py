"""Every crash point of the partition protocol, one at a time and in bounded pairs, by kill, power loss and errno."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from .machine import Fault, Machine
from .partition_pipeline import Chunk, MakeManager, Pipeline, Worker, make_manager

# Equal rows in one chunk and in two, commas, quotes and line breaks, a chunk with no row, one with a single partition,
# a duplicate in a row, and one that comes late.
A = Chunk("A", (("1", "x\n2,y"), ("2", 'say "hi", Bo'), ("3", "same"), ("3", "same")))
B = Chunk("B", (("3", "same"), ("5", 'ends in\n"'), ("-2", "")))
EMPTY = Chunk("E", ())
C = Chunk("C", (("4", "only\npartition\n0"),))
CHUNKS = [A, A, B, EMPTY, C, A]
ERRNOS = ("ENOSPC", "EIO")
PowerCut = Callable[[Machine], None]
POWER_CUTS: dict[str, PowerCut] = {
    "durable only": lambda machine: machine.power_cut(),
    "all entries": lambda machine: machine.power_cut(entries_of_kernel=True),
    "all entries, half of the tails": lambda machine: machine.power_cut(entries_of_kernel=True, tail=0.5),
    **{
        f"{name} spared": lambda machine, name=name: machine.power_cut(spared=name)
        for name in (
            "data/state/intent",
            "data/state/processed-chunks.txt",
            "data/state/written-partition-chunks.txt",
            "data/partitions/T-users-partition-000.csv",
        )
    },
}


class Lab:
    """Runs pipelines, each on a machine of its own."""

    def __init__(
        self,
        directory: Path,
        make_manager: MakeManager = make_manager,
        make_worker: Callable[[Pipeline], Worker] = Worker,
    ) -> None:
        self._directory = directory
        self._numbers = count()
        self._make_manager = make_manager
        self._make_worker = make_worker

    def pipeline(self, *faults: Fault) -> Pipeline:
        machine = Machine(self._directory / str(next(self._numbers)))
        machine.plan(*faults)
        return Pipeline(machine, CHUNKS, self._make_manager, self._make_worker)

    def complaints(self, *faults: Fault, after_death: dict[int, PowerCut] | None = None) -> list[str]:
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
                longest = 40 if "partitions" in call else 12
                yield from (Fault(at, "tear", cut_bytes) for cut_bytes in range(1, longest))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


Experiments = Iterator[tuple[object, list[str]]]


def kill_experiments(lab: Lab) -> Experiments:
    for fault in lab.kills():
        yield fault, lab.complaints(fault)


def power_experiments(lab: Lab) -> Experiments:
    for at in range(len(lab.calls())):
        for name, cut in POWER_CUTS.items():
            yield (at, name), lab.complaints(Fault(at, "kill"), after_death={1: cut})


def errno_experiments(lab: Lab) -> Experiments:
    """One errno or short write at each call, then a kill or a power cut soon after: memory hides what the disk lost."""
    for at in range(len(lab.calls())):
        for kind in (*ERRNOS, "short"):
            fault = Fault(at, kind, cut_bytes=3)
            yield fault, lab.complaints(fault)
            for later in (at + 1, at + 4):
                kill = Fault(later, "kill")
                yield (fault, kill), lab.complaints(fault, kill)
                yield (fault, kill, "power"), lab.complaints(fault, kill, after_death={1: POWER_CUTS["durable only"]})


def recovery_experiments(lab: Lab) -> Experiments:
    """A kill, then a second one at each of the calls of the recovery and a little beyond."""
    for at, call in enumerate(lab.calls()):
        first = Fault(at, "tear", 7) if call.startswith("write") else Fault(at, "kill")
        for second in range(14):
            fault = Fault(second, "kill")
            replan = {1: lambda machine, fault=fault: machine.plan(fault)}
            yield (first, fault), lab.complaints(first, after_death=replan)
            if second % 2 == 0:
                power_then = {**replan, 2: POWER_CUTS["durable only"]}
                yield (first, fault, "power"), lab.complaints(first, after_death=power_then)


EXPERIMENTS = {
    "kill": kill_experiments,
    "power": power_experiments,
    "errno": errno_experiments,
    "recovery": recovery_experiments,
}


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_no_crash_point_loses_or_doubles_a_row(lab: Lab, kind: str) -> None:
    assert [(what, complaints) for what, complaints in EXPERIMENTS[kind](lab) if complaints] == []
