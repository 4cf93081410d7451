"""Cuts one whole row too many when it repairs a partition file."""

from collections.abc import Iterable

import worker_2

from chaoskit.durable import partition_repair
from chaoskit.durable.files import Disk
from chaoskit.durable.partition_repair import Cut

apply = partition_repair.apply


def apply_and_cut_a_row(disk: Disk, cuts: Iterable[Cut]) -> None:
    apply(disk, cuts)
    for cut in cuts:
        if cut.cut_bytes and cut.length_bytes:
            with open(cut.path, "rb") as file:
                rows = file.read().splitlines(keepends=True)
            disk.cut(cut.path, cut.length_bytes - len(rows[-1]))


partition_repair.apply = apply_and_cut_a_row
worker_2.main()
