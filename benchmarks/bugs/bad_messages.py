"""A test runner that sends a message which is no chunk in front of its chunks. It is staged beside the others."""

from typing import Any

import amqp
import test_runner


class BadMessageFirst(test_runner.Sender):
    def send(self, channel: Any) -> None:
        amqp.declare(channel, self.queue)
        if not self.confirmed:
            amqp.publish(channel, self.queue, "bad", b"this is no chunk")
        super().send(channel)


test_runner.Sender = BadMessageFirst
test_runner.main()
