"""Was a result sent again without a reason? For a scenario that names its queue of results, `verifier.results`.

A worker that is killed after it sent a result and before it acknowledged what the result came from has to send it
again, under the same message id. Anything else that comes a second time is a finding, even when the verifier takes it
for the same result: the worker forgot that it was finished. It does not look at what results say, and it asks for
workers that acknowledge in the order in which they take.
"""

from collections.abc import Sequence

from chaoskit.model.events import AnyEvent, BrokerState, FaultFired, Message, NetworkState, ProgramExited
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.scenario import Scenario
from chaoskit.model.verdict import Finding

_Sent = tuple[str, str]
# What may cost a worker the acknowledgement of a message, or the confirmation of a result: it has to send that again.
_DISTURBANCES = FaultFired | ProgramExited | BrokerState | NetworkState


class _Results:
    """The results of a run so far: those whose input may come again, and those for which nothing excuses another."""

    def __init__(self) -> None:
        self.unsettled: set[_Sent] = set()
        self.excused: set[_Sent] = set()
        self.settled: set[_Sent] = set()
        self.repeated: dict[_Sent, int] = {}

    def sent(self, result: _Sent) -> None:
        if result in self.unsettled or result in self.settled:
            self.repeated[result] = self.repeated.get(result, 0) + 1
        self.excused.discard(result)
        self.settled.discard(result)
        self.unsettled.add(result)

    def acknowledged(self, program: str) -> None:
        done = {result for result in self.unsettled if result[0] == program}
        self.unsettled -= done
        self.settled |= done

    def disturbed(self) -> None:
        self.excused |= self.unsettled
        self.unsettled.clear()


def repeated(events: Sequence[AnyEvent], scenario: Scenario) -> list[Finding]:
    """A finding for each result that a target sent again after it had acknowledged, or with nothing in between."""
    queue = scenario.verifier.results
    results = _Results()
    for event in events if queue else ():
        if isinstance(event, _DISTURBANCES):
            results.disturbed()
        elif isinstance(event, Message) and event.program in scenario.target:
            if event.kind == "published" and event.queue == queue and event.id and not event.injected:
                results.sent((event.program, event.id))
            elif event.kind == "acked":
                results.acknowledged(event.program)
    return [_finding(*result, times) for result, times in results.repeated.items()]


def _finding(program: str, message_id: str, times: int) -> Finding:
    text = f"{program} sent the result {message_id} again, {times} times more than its deaths explain"
    return Finding("repeats", ExitCode.FAILURE, text)
