"""Worker 3 of the partition-writes scenario, the verifier: looks at the files of worker 2 when a chunk comes from it.

It makes the chunks of the run again from SEED, so that it does not have to believe what worker 2 forwards, and prints
`SUCCESS [chunk id]` or `FAILURE [chunk id] - reason`. Before the verdict of the last chunk it waits until worker 2 has
recorded all of them as processed, and then looks at everything once more (partition_audit.py); a chunk that was
whole when it came and is not at the end gets a FAILURE behind its SUCCESS. A chunk that comes again is looked at again
and only logged. It keeps nothing on disk; started again in the middle of a run it still ends with the whole audit.
"""

from __future__ import annotations

import json
import time

import amqp
import pika
from chunk_data import chunks
from partition_audit import Audit, Problems
from pika.adapters.blocking_connection import BlockingChannel

NAME = "Worker 3"
_SHOWN_ID_CHARACTERS = 64
_POLL_S = 0.02


def say(line: str) -> None:
    amqp.say(NAME, line)


def print_verdict(line: str) -> None:
    """Print a verdict as a line of its own."""
    print(line.replace("\r", "\\r").replace("\n", "\\n"), flush=True)


def shown(chunk_id: object) -> str:
    """An id that cannot break a verdict line."""
    text = chunk_id if isinstance(chunk_id, str) else "?"
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "?" for c in text)
    return kept[:_SHOWN_ID_CHARACTERS] or "?"


class Verifier:
    """Judges each chunk when it is forwarded, and all of them when the last one is."""

    def __init__(self, audit: Audit, client_id: str, end_wait_s: float) -> None:
        self.audit, self.client_id, self.end_wait_s = audit, client_id, end_wait_s
        self.told: dict[str, None] = {}
        self.judged: dict[str, str] = {}

    def handle(self, channel: BlockingChannel, tag: int, _properties: pika.BasicProperties, body: bytes) -> None:
        """Judge one message and acknowledge it."""
        fields = _object(body)
        chunk_id = fields.get("chunk_id")
        chunk = self.audit.chunks.get(chunk_id) if isinstance(chunk_id, str) else None
        if chunk is None:
            print_verdict(f"FAILURE [{shown(chunk_id)}] - worker 2 forwarded what is no chunk of this run")
        elif fields != json.loads(chunk.body(self.client_id)):
            print_verdict(f"FAILURE [{chunk.id}] - worker 2 changed the chunk that it forwarded")
        else:
            self.judge(channel, chunk.id)
        channel.basic_ack(tag)

    def judge(self, channel: BlockingChannel, chunk_id: str) -> None:
        """Say what is wrong with any chunk, then SUCCESS for this one when it is not among them."""
        self.told[chunk_id] = None
        problems = self.audit.while_running(self.told)
        if not self.audit.chunks.keys() - self.told.keys() - set(self.audit.processed()):
            problems = self.at_the_end(channel) or problems
        for wrong_id, reason in problems.items():
            self.say_once(wrong_id, "FAILURE", f" - {reason}")
        if chunk_id in problems:
            return
        if self.judged.get(chunk_id) == "SUCCESS":
            say(f"Chunk {chunk_id} was forwarded again and is still whole")
        else:
            self.say_once(chunk_id, "SUCCESS", "")

    def say_once(self, chunk_id: str, outcome: str, detail: str) -> None:
        """Print a verdict unless it was the last one printed for this chunk."""
        if self.judged.get(chunk_id) != outcome:
            self.judged[chunk_id] = outcome
            print_verdict(f"{outcome} [{chunk_id}]{detail}")

    def at_the_end(self, channel: BlockingChannel) -> Problems:
        """Wait until all chunks are processed, then look at everything."""
        say("All chunks were forwarded, looking at all files")
        deadline = time.monotonic() + self.end_wait_s
        while missing := self.audit.chunks.keys() - set(self.audit.processed()):
            if time.monotonic() > deadline:
                reason = f"not in processed-chunks.txt {self.end_wait_s:g} s after it was forwarded"
                return dict.fromkeys(sorted(missing), reason)
            # Also serves the connection, so that the broker keeps it.
            channel.connection.sleep(_POLL_S)
        return self.audit.at_the_end()


def _object(body: bytes) -> dict[str, object]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def main() -> None:
    amqp.end_with_one_line(NAME)
    stop = amqp.Stop()
    client_id = amqp.text_setting("CLIENT_ID", "TEST")
    run = chunks(client_id, amqp.number_setting("NUM_CHUNKS", 20), amqp.number_setting("SEED", 0))
    data_dir = amqp.text_setting("WORKER_DATA_DIR", "/app/worker-data")
    audit = Audit(data_dir, client_id, amqp.number_setting("NUM_PARTITIONS", 5), run)
    verifier = Verifier(audit, client_id, amqp.number_setting("END_WAIT_S", 20))
    queue = amqp.text_setting("INPUT_QUEUE", "queue-2-3")

    def serve(channel: BlockingChannel) -> None:
        amqp.declare(channel, queue)
        say(f"Waiting for chunks in {queue}")
        amqp.consume(channel, queue, stop, verifier.handle)

    amqp.with_channel(NAME, serve)


if __name__ == "__main__":
    main()
