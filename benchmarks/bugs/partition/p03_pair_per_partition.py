"""Records each partition right after its rows, and keeps no intent."""

import worker_2

from chaoskit.durable.partition import PartitionManager


class Planted(PartitionManager):
    def _write(self, client_id: str, chunk_id: str, groups: dict[int, bytes]) -> None:
        for partition, data in groups.items():
            self._disk.append(self.partition_path(client_id, partition), data, header=self._header)
            self._state.add_written(chunk_id, [partition])


worker_2.PartitionManager = Planted
worker_2.main()
