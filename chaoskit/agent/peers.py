"""Who connects: the container behind an address, by the engine's own name service."""

import asyncio
import socket


class Peers:
    """The programs by the names of their containers, which `names` maps; the names change with every new container."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def program_at(self, address: str) -> str:
        """The program whose container has this address; the container's name, or the address, of one that is none."""
        try:
            host, *_ = await asyncio.get_running_loop().run_in_executor(None, socket.gethostbyaddr, address)
        except OSError:
            return address
        # The engine answers with the container's name and, behind a dot, the network's.
        for name, program in self.names.items():
            if host == name or host.startswith(f"{name}."):
                return program
        return host.partition(".")[0]
