"""The address of a broker of the user's own, as a scenario or `--broker` gives it.

A password in a scenario stands in its file, and so in the journals of its runs: it is meant for a broker that is there
for tests. One in the environment (`CHAOSKIT_BROKER_PASSWORD`) wins, and stands nowhere.
"""

import re

import msgspec

from chaoskit.model.errors import UsageError

PASSWORD = "CHAOSKIT_BROKER_PASSWORD"
_ADDRESS = re.compile(r"(?:(?P<user>[^@:/]+)@)?(?P<host>\[[^\]]+\]|[^:@/\[\]]+)(?::(?P<port>\d{1,5}))?")


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A broker of the user's own that local programs reach, through the proxies, in place of the embedded one.

    Each run begins with empty queues, so those that its programs used are deleted when it ends. On another machine than
    this one, where they may be somebody's, `delete_queues` has to say so.
    """

    host: str = "127.0.0.1"
    port: int = 5672
    user: str = "guest"
    password: str = "guest"
    virtual_host: str = "/"
    delete_queues: bool | None = None

    @property
    def is_local(self) -> bool:
        return self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"

    @property
    def deletes(self) -> bool:
        """Whether the queues of a run are deleted when it ends."""
        return self.is_local if self.delete_queues is None else self.delete_queues

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def problem(self) -> str:
        """What is wrong with the address, in one line; empty when nothing is."""
        if not self.host or not 0 < self.port < 65536:
            return f"{self} is not the address of a broker: HOST:PORT"
        if not self.is_local and self.delete_queues is None:
            return (
                f"{self} is on another machine, and the queues of a run are deleted when it ends: say "
                "`broker: {host: ..., delete_queues: true}` in the scenario if it is there for tests, or false"
            )
        return ""


def parse_address(text: str, given: Broker) -> Broker:
    """`[USER@]HOST[:PORT]`; what it leaves out is as `given` by the scenario. Raises UsageError."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        # What stands before an @ may be a password, and is not repeated.
        shown = text.rpartition("@")[2]
        raise UsageError(f"--broker {shown}: expected HOST:PORT or USER@HOST:PORT (the password is ${PASSWORD})")
    broker = msgspec.structs.replace(
        given,
        host=match["host"].strip("[]"),
        port=int(match["port"] or given.port),
        user=match["user"] or given.user,
    )
    if problem := broker.problem():
        raise UsageError(f"--broker {text}: {problem}")
    return broker
