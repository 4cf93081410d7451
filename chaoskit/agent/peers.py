"""Who connects: the container behind an address, by the engine's own name service."""

import asyncio
import socket
from collections.abc import Callable

# A name service that has no time for us says so; whoever it does not know will be no better known later.
_TRY_AGAIN = 2
_TRIES = 3
LookUp = Callable[[str], tuple[str, list[str], list[str]]]


class Peers:
    """The programs by the names of their containers, which `names` maps; the names change with every new container."""

    def __init__(self, look_up: LookUp = socket.gethostbyaddr) -> None:
        self.names: dict[str, str] = {}
        self._look_up = look_up

    async def program_at(self, address: str) -> str:
        """The program whose container has this address; the container's name, or the address, of one that is none."""
        # The engine answers with the container's name and, behind a dot, the network's.
        host = await asyncio.to_thread(self._name_of, address)
        for name, program in self.names.items():
            if host == name or host.startswith(f"{name}."):
                return program
        return host if host == address else host.partition(".")[0]

    def _name_of(self, address: str) -> str:
        for _ in range(_TRIES):
            try:
                return self._look_up(address)[0]
            except socket.herror as error:
                if error.errno != _TRY_AGAIN:
                    break
            except OSError:
                break
        return address
