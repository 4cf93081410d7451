"""report.html of a run directory, drawn from its report and journals. Runs nothing.

An exploration's failed runs get one each, up to a number: thousands would take more room than anybody reads.
`chaoskit report RUN_DIR` draws any that is missing.
"""

from collections.abc import Sequence

import msgspec

from chaoskit import journal
from chaoskit.engine import assess
from chaoskit.engine.rundir import RunDir
from chaoskit.model.errors import UsageError
from chaoskit.model.events import AnyEvent
from chaoskit.model.run import Failed, Report, from_json
from chaoskit.report import html
from chaoskit.report.sentence import sentence

_MOST_FAILED_RUNS = 200


def save(run_dir: RunDir, made: Report) -> None:
    """Write report.json and report.html."""
    assess.save(run_dir, made)
    draw(run_dir, made)


def draw(run_dir: RunDir, made: Report) -> None:
    """Write report.html. Of an exploration it shows the control run, as it does of a run that got no further."""
    control = _events(_control_of(run_dir))
    events = _events(run_dir) or control
    run_dir.page.write_text(html.render(made, events, control), encoding="utf-8")


def with_failed_runs(run_dir: RunDir, made: Report) -> Report:
    """The report of an exploration with each failure told in a sentence, from its run; the first ones are drawn."""
    control = _events(run_dir.control)
    failures = [_told(run_dir, failed, control, i < _MOST_FAILED_RUNS) for i, failed in enumerate(made.failures)]
    told = msgspec.structs.replace(made, failures=tuple(failures))
    return msgspec.structs.replace(told, sentence=sentence(told, ()))


def _told(exploration: RunDir, failed: Failed, control: Sequence[AnyEvent], drawn: bool) -> Failed:
    run_dir = RunDir(exploration.path / failed.directory)
    try:
        report = from_json(run_dir.report.read_bytes())
    except (OSError, msgspec.DecodeError):
        # What a failed run left may be gone by the time; the exploration's own records still tell of it.
        return failed
    words = sentence(report, _events(run_dir), control)
    if drawn:
        save(run_dir, msgspec.structs.replace(report, sentence=words))
    return msgspec.structs.replace(failed, sentence=words)


def _control_of(run_dir: RunDir) -> RunDir:
    """The control run of a run; an experiment has that of its exploration."""
    if run_dir.path.parent.name == "experiments" and not run_dir.control.journal.is_file():
        return RunDir(run_dir.path.parent.parent).control
    return run_dir.control


def _events(run_dir: RunDir) -> Sequence[AnyEvent]:
    try:
        return journal.read(run_dir.journal) if run_dir.journal.is_file() else ()
    except UsageError:
        return ()
