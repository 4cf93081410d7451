"""Health checks of the services behind the programs: as often as the file says until one is healthy, seldom after that.

Nobody looks at them once a project is up, and each costs the start of a process, every second in many files. It needs
an engine that knows an interval for the start alone.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import docker

# Engine 25 has `start_interval`.
_OLDEST_API = (1, 44)
_SELDOM_S = 60.0
_RETRIES = 3
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")


def can_be_seldom(client: docker.DockerClient) -> bool:
    """Whether the engine tells the start from what comes after it."""
    return tuple(int(part) for part in str(client.api.api_version).split(".")) >= _OLDEST_API


def make_seldom(document: Mapping[str, Any], services: Collection[str]) -> None:
    """Change the health checks of these services in a project's document."""
    for name in services:
        service = document["services"][name]
        if service.get("healthcheck"):
            service["healthcheck"] = seldom(service["healthcheck"])


def seldom(check: Mapping[str, Any]) -> dict[str, Any]:
    """A health check (as `docker compose config` prints it) that is found as early as before, and asked seldom then.

    A service that never becomes healthy still is unhealthy after as many attempts, which now belong to its start.
    """
    interval_s = _seconds(check.get("interval"))
    if check.get("disable") or not interval_s or interval_s >= _SELDOM_S or "start_interval" in check:
        return dict(check)
    attempts_s = interval_s * int(check.get("retries") or _RETRIES)
    start_s = _seconds(check.get("start_period")) + attempts_s
    often = {"start_interval": f"{interval_s:g}s", "start_period": f"{start_s:g}s"}
    return {**check, **often, "interval": f"{_SELDOM_S:g}s", "retries": 1}


def _seconds(duration: object) -> float:
    """A duration as Compose prints it, `1m30s`; 0 for none."""
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(str(duration or "")))
