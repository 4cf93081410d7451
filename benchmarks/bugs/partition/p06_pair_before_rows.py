"""Records the partitions of a chunk before its rows are written."""

import worker_2

from chaoskit.durable.partition_state import ChunkState, Intent

put_intent, add_written = ChunkState.put_intent, ChunkState.add_written


def put_intent_and_pairs(self: ChunkState, intent: Intent) -> None:
    put_intent(self, intent)
    add_written(self, intent.chunk_id, intent.base_bytes)


ChunkState.put_intent = put_intent_and_pairs
ChunkState.add_written = lambda self, chunk_id, partitions: None
worker_2.main()
