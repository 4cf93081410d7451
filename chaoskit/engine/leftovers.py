"""What a chaoskit that was killed left behind: processes, its file in this directory, control sockets, containers.

A process is a leftover when it carries our mark, names the process that started it, and that one is gone. Only
processes of this user in this PID namespace are looked at: in another one, process ids mean something else. Programs
of a living run, whoever's, are never touched.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from chaoskit.engine import control, rundir, upfile
from chaoskit.engine.holding import is_held
from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.runtime.compose import bridge
from chaoskit.runtime.processes import MARK, OWNER, identity, marked, variables_of

_UNFINISHED_LINK = re.compile(r"latest\.[0-9]+")


class Process(msgspec.Struct, frozen=True):
    """A process that a run started. `identity` tells it from a later one with the same id; `run` is its directory."""

    pid: int
    identity: str
    program: str
    run: str
    orphan: bool


def processes() -> list[Process]:
    """The processes of this user that any run on this machine started; none where there is no /proc."""
    if sys.platform != "linux":
        return []
    found = (_process(pid) for pid in marked("") if _is_ours(pid))
    return [process for process in found if process is not None]


def _is_ours(pid: int) -> bool:
    try:
        same_user = os.stat(f"/proc/{pid}").st_uid == os.getuid()
        return same_user and os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return False


def _process(pid: int) -> Process | None:
    pairs = (variable.partition(b"=") for variable in variables_of(pid))
    variables = {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs}
    itself, owner = identity(pid), variables.get(OWNER, "")
    if itself is None or MARK not in variables:
        return None
    program = variables.get("CHAOSKIT_PROGRAM", "a process")
    return Process(pid, itself, program, variables[MARK], _is_gone(owner))


def _is_gone(owner: str) -> bool:
    """Whether the process that `owner` names is no more; one that names nobody is left alone."""
    pid, _, started = owner.partition(":")
    return pid.isdecimal() and started.isdecimal() and identity(int(pid)) != owner


def orphans() -> list[Process]:
    """The processes whose chaoskit is gone."""
    return [process for process in processes() if process.orphan]


def _kill(process: Process) -> bool:
    """SIGKILL this very process, not one that got its id meanwhile; whether it was still there."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if identity(process.pid) != process.identity:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def clean(dry_run: bool) -> list[str]:
    """Remove what dead chaoskits left (say what there is when `dry_run`): a line for each thing."""
    ended = _kill_orphans(dry_run)
    return [*ended, *_remove_files(dry_run), *_remove_from_engine(dry_run, cut_off=bool(ended))]


def _remove_from_engine(dry_run: bool, cut_off: bool) -> list[str]:
    """What dead chaoskits left on the Docker engine; where there is no `docker` there can be nothing.

    `cut_off`: a Compose of theirs may have been ended just now.
    """
    if shutil.which("docker") is None:
        return []
    from chaoskit.runtime.compose import engine
    from chaoskit.runtime.compose import leftovers as on_engine

    if problem := engine.unavailable():
        return [f"the Docker engine was not looked at: {problem}"]
    client = engine.connect()
    try:
        if dry_run:
            return [f"would remove {thing}" for thing in on_engine.orphans(client)]
        return [f"removed {thing}" for thing in on_engine.remove_orphans(client, cut_off)]
    finally:
        client.close()


def on_engine() -> list[str]:
    """How much dead chaoskits left on the Docker engine, a part of a sentence; nothing where it cannot be looked at."""
    from chaoskit.runtime.compose import engine
    from chaoskit.runtime.compose import leftovers as on_engine

    try:
        with contextlib.closing(engine.connect()) as client:
            count = len(on_engine.orphans(client))
    except EnvironmentProblem:
        return []
    return [f"{count} containers, networks, volumes or images of dead runs"] if count else []


def _kill_orphans(dry_run: bool) -> list[str]:
    verb = "would kill" if dry_run else "killed"
    gone = [process for process in orphans() if dry_run or _kill(process)]
    return [f"{verb} {process.program} (pid {process.pid}) of {process.run}" for process in gone]


def _remove_files(dry_run: bool) -> list[str]:
    verb = "would remove" if dry_run else "removed"
    done = []
    found = upfile.look()
    if found is not None and not found.alive and (dry_run or upfile.remove_stale()):
        done.append(f"{verb} {upfile.path()}, the file of a chaoskit that was killed")
    for directory in control.stale_directories():
        if not dry_run:
            control.remove_directory(directory)
        if dry_run or not directory.exists():
            done.append(f"{verb} the control socket in {directory}")
    for directory in bridge.stale():
        if not dry_run:
            shutil.rmtree(directory, ignore_errors=True)
        done.append(f"{verb} the socket to a Docker engine in {directory}")
    return done + _remove_unfinished_links(verb, dry_run)


def _remove_unfinished_links(verb: str, dry_run: bool) -> list[str]:
    """Links that were about to become `latest` when their chaoskit was killed."""
    done = []
    for link in sorted(rundir.home().glob("latest.*")):
        pid = link.name.partition(".")[2]
        if not _UNFINISHED_LINK.fullmatch(link.name) or not link.is_symlink() or identity(int(pid)):
            continue
        if not dry_run:
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
        done.append(f"{verb} {link}")
    return done


# --- the runs of this directory ---


def run_names() -> list[str]:
    """The run directories of this directory, oldest first."""
    runs = rundir.home() / "runs"
    if runs.is_symlink() or rundir.home().is_symlink():
        raise UsageError(f"{runs} is reached through a link: remove it yourself")
    return sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []


def check_idle() -> None:
    """Raises UsageError when a run or a pipeline of this directory is alive."""
    if (found := upfile.look()) and found.alive:
        raise UsageError("a pipeline is up in this directory: `chaoskit down` first")
    here = rundir.home().resolve()
    for process in processes():
        if not process.orphan and Path(process.run).is_relative_to(here):
            raise UsageError(f"a run of this directory is still going on ({process.program}, pid {process.pid})")
    for name in run_names():
        # Programs in containers are no processes of this machine, and between two lives there are none.
        run = rundir.home() / "runs" / name
        if run.is_dir() and not run.is_symlink() and is_held(run):
            raise UsageError(f"a run of this directory is still going on ({name})")


def remove_runs() -> None:
    """Remove all runs of this directory, and `latest`. Raises UsageError and EnvironmentProblem."""
    check_idle()
    if not run_names():
        return
    try:
        (rundir.home() / "latest").unlink(missing_ok=True)
        shutil.rmtree(rundir.home() / "runs")
    except OSError as e:
        raise EnvironmentProblem(f"{e.filename}: cannot be removed: {e.strerror}") from None
