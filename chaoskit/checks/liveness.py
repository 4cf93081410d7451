"""Did the run really happen, and did it come to its end? Findings about programs, the environment and time."""

from collections.abc import Sequence

from chaoskit.model.events import (
    AnyEvent,
    EnvironmentLost,
    ProgramExited,
    ProgramStarted,
    Ready,
    RunEnded,
)
from chaoskit.model.exit_codes import ExitCode
from chaoskit.model.scenario import Scenario
from chaoskit.model.verdict import Finding


def environment(events: Sequence[AnyEvent]) -> list[Finding]:
    """The broker, the tap or a proxy went away without being hurt."""
    return [
        Finding("environment", ExitCode.ENVIRONMENT, f"{e.what} lost: {e.reason}")
        for e in events
        if isinstance(e, EnvironmentLost)
    ]


def ended(events: Sequence[AnyEvent]) -> list[Finding]:
    """The run was given up, cut off, or its journal has no end."""
    last = next((e for e in reversed(events) if isinstance(e, RunEnded)), None)
    if last is None:
        return [Finding("run-ended", ExitCode.INCONCLUSIVE, "the journal has no end: chaoskit itself was killed")]
    if last.reason == "complete":
        return []
    if last.reason == "interrupted":
        return [Finding("run-ended", ExitCode.INTERRUPTED, "interrupted")]
    if last.reason == "error":
        return [Finding("run-ended", ExitCode.ENVIRONMENT, last.waited_for)]
    return [Finding("run-ended", ExitCode.FAILURE if _blames(last) else ExitCode.INCONCLUSIVE, _gave_up(last))]


def _blames(last: RunEnded) -> bool:
    """A wait for a fault alone says nothing against the pipeline: the unfired fault has its own finding."""
    return not last.waited_for.startswith("faults")


def _gave_up(last: RunEnded) -> str:
    reasons = {
        "timeout": "the time limit was reached",
        "quiet": "nothing moved any more",
        "restart-loop": "a program dies again and again",
    }
    return f"{reasons[last.reason]}: waited {last.waited_s:.1f} s for {last.waited_for}"


def nothing_ran(events: Sequence[AnyEvent]) -> list[Finding]:
    """No program started, or the pipeline never became ready."""
    if not any(isinstance(e, ProgramStarted) for e in events):
        return [Finding("ran", ExitCode.INCONCLUSIVE, "nothing ran: no program was started")]
    if not any(isinstance(e, Ready) for e in events):
        return [Finding("ran", ExitCode.INCONCLUSIVE, "the pipeline never became ready")]
    return []


def unexpected_exits(events: Sequence[AnyEvent], scenario: Scenario) -> list[Finding]:
    """Programs that died without being hurt. Crash-only workers may, so it is noted, not judged."""
    judge = scenario.verifier.program if scenario.verifier.exit_code else None
    counts: dict[tuple[str, int], int] = {}
    for e in events:
        if isinstance(e, ProgramExited) and e.program == judge:
            continue
        if isinstance(e, ProgramExited) and not e.hurt and not e.stopping and e.code != 0:
            counts[e.program, e.code] = counts.get((e.program, e.code), 0) + 1
    return [
        Finding("exits", ExitCode.OK, f"{program} ended by itself with code {code}{f' ({n} times)' if n > 1 else ''}")
        for (program, code), n in counts.items()
    ]
