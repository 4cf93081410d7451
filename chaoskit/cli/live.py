"""Live progress of a run: a line for each fault, restart and verdict as it comes, a status line on a terminal."""

from rich.console import Console
from rich.text import Text

from chaoskit.checks.verdicts import Reader, VerdictLine, judged_by_exit, of_exit
from chaoskit.engine.run import Watcher
from chaoskit.engine.rundir import RunDir
from chaoskit.model.events import (
    AnyEvent,
    BrokerState,
    Call,
    EnvironmentLost,
    FaultFailed,
    FaultFired,
    Flag,
    LogLine,
    NetworkState,
    ProgramExited,
    ProgramStarted,
    RunEnded,
    RunStarted,
)
from chaoskit.model.plan import Plan
from chaoskit.report.clean import clean, counted


class Live(Watcher):
    """Draws what a run does on `console`; the status line only where that is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("starting") if console.is_terminal else None
        self._reader: Reader | None = None
        self._last_line = ""
        self._plan = Plan(0)
        self._phase = ""
        self._points = 0
        self._seen: set[tuple[str, str]] = set()
        self._up: dict[str, int] = {}
        self._gone_s: dict[str, float] = {}

    def __enter__(self) -> "Live":
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def phase(self, name: str, run_dir: RunDir) -> None:
        self._phase, self._points = name, 0
        self._seen.clear()
        self._up.clear()

    def progress(self, text: str, passing: bool) -> None:
        if self._status:
            self._status.update(Text(clean(text)))
        if not passing:
            self._line(text, "dim")

    def planned(self, plan: Plan) -> None:
        self._plan = plan
        for i, step in enumerate(plan.steps, 1):
            self._line(f"  planned {i}: {step}", "dim")

    def event(self, event: AnyEvent) -> None:
        draw = getattr(self, f"_on_{type(event).__name__}", None)
        if draw:
            draw(event)
        if self._status:
            up = " ".join(f"{name}/{life}" for name, life in self._up.items())
            self._status.update(f"{self._phase}: up {up or 'nothing yet'}; {len(self._seen)} verdicts")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(clean(text), style=style))

    def _on_RunStarted(self, event: RunStarted) -> None:  # noqa: N802 (named after the event)
        self._reader = Reader(event.scenario.verifier)
        if event.control and event.tap:
            self._line(f"no tap here, kills fall on messages and log lines: {event.tap}", "yellow")

    def _on_ProgramStarted(self, event: ProgramStarted) -> None:  # noqa: N802
        self._up[event.program] = event.life
        if event.life and event.after_s is not None:
            self._line(f"  {event.t_s:7.3f} s  {event.program} is back after {event.after_s:.3f} s", "dim")

    def _on_ProgramExited(self, event: ProgramExited) -> None:  # noqa: N802
        self._up.pop(event.program, None)
        if self._reader and judged_by_exit(event, self._reader.verifier):
            self._verdict(event.t_s, of_exit(event, self._last_line, self._reader.verifier))
        elif event.code and not event.hurt and not event.stopping:
            self._line(f"  {event.t_s:7.3f} s  {event.program} ended by itself with code {event.code}", "yellow")

    def _on_Call(self, event: Call) -> None:  # noqa: N802
        self._points += 1

    def _on_LogLine(self, event: LogLine) -> None:  # noqa: N802
        if self._reader is None or event.program != self._reader.verifier.program:
            return
        self._last_line = event.text.strip() or self._last_line
        for line in self._reader.lines(event.text):
            self._verdict(event.t_s, line)

    def _verdict(self, t_s: float, line: VerdictLine) -> None:
        if (line.id, line.outcome) not in self._seen:
            self._seen.add((line.id, line.outcome))
            style = "green" if line.outcome == "SUCCESS" else "bold red"
            self._line(f"  {t_s:7.3f} s  {line.outcome} [{line.id}] {line.detail}", style)

    def _on_FaultFired(self, event: FaultFired) -> None:  # noqa: N802
        step = self._plan.steps[event.step]
        written = "" if event.written_bytes is None else f", {counted(event.written_bytes, 'byte')} written"
        self._line(
            f"  {event.t_s:7.3f} s  {step.fault} {event.target or step.target} at {event.point}{written}", "bold cyan"
        )

    def _on_FaultFailed(self, event: FaultFailed) -> None:  # noqa: N802
        step = self._plan.steps[event.step]
        self._line(f"  {event.t_s:7.3f} s  {step.fault} {step.target} could not be done: {event.reason}", "yellow")

    def _on_BrokerState(self, event: BrokerState) -> None:  # noqa: N802
        self._away(event.t_s, "the broker", event.up)

    def _on_NetworkState(self, event: NetworkState) -> None:  # noqa: N802
        self._away(event.t_s, f"the network of {event.program}", event.up)

    def _away(self, t_s: float, what: str, up: bool) -> None:
        if up:
            self._line(f"  {t_s:7.3f} s  {what} is back after {t_s - self._gone_s.pop(what, t_s):.3f} s", "dim")
        else:
            self._gone_s[what] = t_s

    def _on_EnvironmentLost(self, event: EnvironmentLost) -> None:  # noqa: N802
        self._line(f"  {event.t_s:7.3f} s  {event.what} lost: {event.reason}", "bold magenta")

    def _on_Flag(self, event: Flag) -> None:  # noqa: N802
        self._line(f"  {event.t_s:7.3f} s  note: {event.program}: {event.reason}", "yellow")

    def _on_RunEnded(self, event: RunEnded) -> None:  # noqa: N802
        points = f", {self._points} crash points" if self._points else ""
        self._line(f"{self._phase}: {event.reason} after {event.t_s:.2f} s, {len(self._seen)} verdicts{points}")
