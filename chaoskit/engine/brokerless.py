"""What the pipeline asks of broker and proxies, for a scenario that has none: there is no queue and no message."""

from collections.abc import Mapping

from chaoskit.engine.pipeline import Depth


class NoConnections:
    """Nobody consumes, nothing waits, nothing can be cut: `check_plan` refuses steps that would need a broker."""

    def address(self, program: str) -> Mapping[str, str]:
        return {}

    def consuming(self, program: str) -> bool:
        return False

    def drained(self) -> bool:
        return True

    def in_progress(self) -> bool:
        return False

    def depths(self) -> str:
        return ""

    def queues(self) -> Mapping[str, Depth]:
        return {}

    def connected(self, program: str) -> bool:
        return False

    def cut_off(self, program: str) -> bool:
        return False

    def cut(self, program: str) -> None:
        """There is no connection."""

    def disconnect(self, program: str, for_s: float) -> None:
        """There is no network that chaoskit knows of."""

    def kill_broker(self, for_s: float) -> None:
        """There is no broker."""

    def stop_broker(self, for_s: float) -> None:
        """There is no broker."""

    def broker_up(self) -> bool:
        return False

    def mending(self) -> bool:
        return False

    def send_late(self) -> bool:
        return False

    async def close(self) -> None:
        """There is nothing to close."""
