"""Worker 1 of the partition-writes scenario: passes messages from its queue on to worker 2, as they are.

It is there so that the pipeline looks like its neighbours; the test runner sends to worker 2 directly.
"""

from __future__ import annotations

import amqp
import pika
from pika.adapters.blocking_connection import BlockingChannel

NAME = "Worker 1"


def main() -> None:
    amqp.end_with_one_line(NAME)
    input_queue = amqp.text_setting("INPUT_QUEUE", "queue-0-1")
    output_queue = amqp.text_setting("OUTPUT_QUEUE", "queue-1-2")
    stop = amqp.Stop()

    def forward(channel: BlockingChannel, tag: int, properties: pika.BasicProperties, body: bytes) -> None:
        amqp.publish(channel, output_queue, properties.message_id or "", body)
        channel.basic_ack(tag)

    def serve(channel: BlockingChannel) -> None:
        amqp.declare(channel, input_queue)
        amqp.declare(channel, output_queue)
        amqp.say(NAME, f"Waiting for messages in {input_queue}")
        amqp.consume(channel, input_queue, stop, forward)

    amqp.with_channel(NAME, serve)


if __name__ == "__main__":
    main()
