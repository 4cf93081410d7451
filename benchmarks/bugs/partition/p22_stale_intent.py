"""At a start undoes what the last intent covers, also when its chunk is processed."""

import worker_2

from chaoskit.durable.partition_state import ChunkState, Intent

pending_intent = ChunkState.pending_intent


def any_intent(self: ChunkState) -> Intent | None:
    processed, self._processed = self._processed, {}
    try:
        return pending_intent(self)
    finally:
        self._processed = processed


ChunkState.pending_intent = any_intent
worker_2.main()
