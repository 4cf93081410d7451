"""What the broker lost when a fault took it down: the queues that were gone when it came back.

A note, not a verdict: a queue that is not durable does not outlive its broker, and whether that matters is the
verifier's to say. It does not see messages that are lost from a queue that is still there.
"""

from collections.abc import Sequence

from chaoskit.model.events import AnyEvent, BrokerState
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.verdict import Finding


def lost_queues(events: Sequence[AnyEvent]) -> list[Finding]:
    """A note for each queue that held messages when the broker ended and was gone when it answered again."""
    findings: list[Finding] = []
    before: dict[str, int] = {}
    for event in (e for e in events if isinstance(e, BrokerState)):
        if event.up:
            gone = {queue: count for queue, count in before.items() if count and queue not in event.queues}
            findings += [Finding("broker", ExitCode.OK, _lost(queue, count)) for queue, count in gone.items()]
        before = event.queues
    return findings


def _lost(queue: str, count: int) -> str:
    messages = "1 message" if count == 1 else f"{count} messages"
    return f"{queue} was gone when the broker came back, with the {messages} in it: it is not durable"
