"""Tries a chunk again after an error without taking back the rows that it had written."""

import worker_2

from chaoskit.durable import partition_repair
from chaoskit.durable.partition import PartitionManager
from chaoskit.durable.partition_state import Intent


class Planted(PartitionManager):
    def _write(self, client_id: str, chunk_id: str, groups: dict[int, bytes]) -> None:
        paths = {partition: self.partition_path(client_id, partition) for partition in groups}
        sizes = {partition: partition_repair.usable_size(path, self._header) for partition, path in paths.items()}
        self._state.put_intent(Intent(chunk_id, client_id, sizes))
        for partition, data in groups.items():
            self._disk.append(paths[partition], data, header=self._header)
        self._state.add_written(chunk_id, groups)


worker_2.PartitionManager = Planted
worker_2.main()
