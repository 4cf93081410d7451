"""Whose connection it is, by the name that the engine's name service gives an address."""

import asyncio
import socket

from chaoskit.agent.peers import Peers


def _program_at(*answers: str | OSError, names: dict[str, str] | None = None) -> str:
    left = list(answers)

    def look_up(address: str) -> tuple[str, list[str], list[str]]:
        answer = left.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer, [], [address]

    peers = Peers(look_up)
    peers.names = names or {"run-worker-run1": "worker", "run-worker-run11": "checker"}
    found = asyncio.run(peers.program_at("172.18.0.5"))
    assert left == []
    return found


def test_a_container_is_known_by_its_whole_name() -> None:
    assert _program_at("run-worker-run1.run_default") == "worker"
    assert _program_at("run-worker-run11.run_default") == "checker"
    assert _program_at("run-side-1.run_default") == "run-side-1"


def test_a_name_service_that_is_busy_is_asked_again() -> None:
    busy = socket.herror(2, "Host name lookup failure")
    assert _program_at(busy, busy, "run-worker-run1.run_default") == "worker"
    assert _program_at(busy, busy, busy) == "172.18.0.5"


def test_an_address_without_a_name_is_asked_for_once() -> None:
    assert _program_at(socket.herror(1, "Unknown host")) == "172.18.0.5"
    assert _program_at(socket.gaierror(-2, "Name or service not known")) == "172.18.0.5"
