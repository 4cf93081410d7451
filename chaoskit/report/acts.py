"""What a program did, in words: `the last row was written to metadata/CLI1.csv`, `the result was sent`. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from chaoskit.model.events import AnyEvent, Call, Message, RunStarted
from chaoskit.report.clean import clean

_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_SETTLED = {"acked": "acknowledged", "nacked": "given back", "rejected": "rejected", "delivered": "delivered"}
_DONE = {
    "fsync": "{} was flushed to disk",
    "rename": "{} was renamed",
    "unlink": "{} was deleted",
    "truncate": "{} was cut back",
    "create": "{} was created",
    "mkdir": "the directory {} was made",
}
_NAMES = {"fsync": "flush", "unlink": "removal", "create": "creation", "mkdir": "making"}
_ROWS = (".csv", ".tsv")


class Namer(NamedTuple):
    """Words for the acts of one run. `results` are the queues of results, `about` the id that a sentence is about.

    `last_writes` numbers the last write to each path, where a run that went to its end has shown it.
    """

    results: frozenset[str] = frozenset()
    about: str = ""
    last_writes: Mapping[str, int] = MappingProxyType({})

    def knowing(self, last_writes: Mapping[str, int]) -> "Namer":
        """The same, knowing the last writes of a life that went to its end."""
        return self._replace(last_writes=last_writes)

    def of(self, event: Call | Message) -> str:
        """An act as something that was done: `metadata/done/CLI1 was created`."""
        if isinstance(event, Call):
            return self.of_call(event.op, event.path, event.nth)
        name = clean(event.id, 60)
        if event.kind == "published" and event.queue in self.results and (self.about in event.id or not name):
            return "the result was sent"
        if event.kind == "published":
            return f"{name or 'a message'} was sent to {clean(event.queue, 60)}"
        return f"{f'message {name}' if name else 'the message'} was {_SETTLED[event.kind]}"

    def of_call(self, op: str, path: str, nth: int) -> str:
        """A call as something that was done: `the last row was written to metadata/CLI1.csv`."""
        shown = clean(path, 80)
        if op == "write" and path.endswith(_ROWS) and self.last_writes.get(path) == nth:
            return f"the last row was written to {shown}"
        if op == "write":
            return f"{self.call(op, path, nth)} was made"
        done = _DONE.get(op)
        return done.format(shown) if done else f"{clean(op, 40)} of {shown} was made"

    def call(self, op: str, path: str, nth: int) -> str:
        """A call as a thing: `the second write to metadata/CLI1.csv`."""
        which = f"the {_ORDINALS[nth]}" if nth < len(_ORDINALS) else f"the {nth}th"
        if op == "write" and self.last_writes.get(path) == nth > 1:
            which = "the last"
        if op in ("write", "send"):
            return f"{which} {op} to {'the broker' if op == 'send' else clean(path, 80)}"
        return f"{which} {_NAMES.get(op, clean(op, 40))} of {clean(path, 80)}"


def namer(events: Sequence[AnyEvent], control: Sequence[AnyEvent]) -> Namer:
    """The words for a run: the queue of results is the one that the scenario names, else those the verifier reads."""
    start = events[0] if events else None
    if not isinstance(start, RunStarted):
        return Namer()
    verifier = start.scenario.verifier
    if verifier.results:
        return Namer(frozenset({verifier.results}))
    read = (e.queue for e in (*events, *control) if isinstance(e, Message) and e.program == verifier.program)
    return Namer(frozenset(read))
