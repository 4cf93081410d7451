"""What chaoskit needs of a machine, looked at one by one: is it there, why not, and one command that mends it.

It mends nothing. Each look is independent of the others and takes at most a few seconds.
"""

from chaoskit.engine.doctor import basics, on_docker, tapping
from chaoskit.engine.doctor.finding import Finding

__all__ = ["Finding", "can_compose", "can_run", "examine"]


def examine() -> list[Finding]:
    """All looks, the needed ones first."""
    here = [look() for look in (*basics.LOOKS, *tapping.LOOKS)]
    docker = on_docker.findings()
    return [*here, *docker, basics.leftovers_found(on_docker.answers(docker))]


def can_run(findings: list[Finding]) -> bool:
    """Whether `chaoskit run` works here, with programs as processes of this machine."""
    return all(finding.status == "ok" for finding in findings if finding.needed)


def can_compose(findings: list[Finding]) -> bool:
    """Whether `chaoskit run --runtime compose` works here."""
    return can_run(findings) and all(f.status == "ok" for f in findings if f.name in on_docker.NAMES)
