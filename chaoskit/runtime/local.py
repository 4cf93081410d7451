"""The local runtime: programs as processes of this machine, each in a session of its own.

It does not isolate: programs see this machine's files and network. What they are given is a data directory, the
broker's address, and an environment; `PATH` and a few harmless variables are passed on, nothing else. The command that
judges also finds the directory of the programs' logs in `CHAOSKIT_LOGS`. A supervisor of the user's own, which starts
its programs again, cannot be told from what it starts: that needs containers.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from chaoskit.model import placeholders
from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.model.scenario import Scenario
from chaoskit.runtime.base import Launch, Listener, Spawner
from chaoskit.runtime.processes import MARK, Process, marked, owned, spawn_plain

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "SYSTEMROOT")


class LocalRuntime:
    """Programs of `scenario` as processes; data and logs below `run_dir`, which names the run."""

    name = "local"

    def __init__(self, scenario: Scenario, run_dir: Path, listener: Listener) -> None:
        if scenario.restart == "engine":
            raise UsageError(
                f"{scenario.name}: `restart: engine` needs containers, whose engine starts them again (--runtime "
                "compose); on the local runtime it is `chaoskit`, or `none` for programs that stay dead"
            )
        self.scenario = scenario
        self.run_dir = run_dir
        self.mark = str(run_dir.resolve())
        self._listener = listener
        self._spawn: Spawner = spawn_plain
        self._processes: dict[str, Process] = {}

    def use(self, spawner: Spawner) -> None:
        """Start programs in another way than plainly."""
        self._spawn = spawner

    def data_dir(self, program: str) -> Path:
        """The data directory of a program, made when it is not there."""
        path = self.run_dir.resolve() / "data" / self.scenario.data_name(program)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        directories = self._directories(program)
        argv = self._argv(program, self.scenario.places(directories))
        environment = self.scenario.filled(program, environment, directories)
        log = self._open_log(program)
        reading, writing = os.pipe()
        launch = Launch(
            program, life, argv, self._environment(program, environment), Path(self.scenario.folder), writing
        )
        try:
            pid = self._spawn(launch)
        except OSError as e:
            os.close(reading)
            os.close(log)
            raise EnvironmentProblem(f"{program}: {argv[0]} cannot be started: {e.strerror or e}") from None
        finally:
            os.close(writing)
        self._listener.program_started(program, life, pid)
        self._processes[program] = Process(
            pid,
            reading,
            log,
            lambda text: self._listener.program_line(program, life, text),
            lambda code: self._listener.program_exited(program, life, code),
        )

    def _argv(self, program: str, places: Mapping[str, str]) -> list[str]:
        if not self.scenario.programs[program].command:
            raise EnvironmentProblem(f"{program} has no `command`: run it with --runtime compose, or give it one")
        first, *rest = (placeholders.fill(word, places) for word in self.scenario.programs[program].command)
        if first in ("python", "python3"):
            return [sys.executable, *rest]
        found = shutil.which(first, path=f"{self.scenario.folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
        local = Path(self.scenario.folder, first)
        if found is None and not os.access(local, os.X_OK):
            raise EnvironmentProblem(f"{program}: the command {first!r} is not found; install it or mend `command`")
        return [found or str(local), *rest]

    def _directories(self, program: str) -> dict[str, str]:
        return {"data": str(self.data_dir(program)), "logs": str(self._logs())}

    def _environment(self, program: str, environment: Mapping[str, str]) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        own = {
            MARK: self.mark,
            **owned(),
            "CHAOSKIT_PROGRAM": program,
            "PYTHONUNBUFFERED": "1",
            "WORKER_DATA_DIR": str(self.data_dir(program)),
        }
        if program == self.scenario.verifier.last:
            own["CHAOSKIT_LOGS"] = str(self._logs())
        return {**passed_on, **own, **environment}

    def _open_log(self, program: str) -> int:
        return os.open(self._logs() / f"{program}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _logs(self) -> Path:
        logs = self.run_dir.resolve() / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        return logs

    def running(self, program: str) -> bool:
        process = self._processes.get(program)
        return process is not None and not process.ended.is_set()

    def _signal(self, program: str, number: int) -> None:
        if program in self._processes:
            self._processes[program].signal(number)

    def starts_again(self, program: str) -> bool:
        return False

    def kill(self, program: str, for_good: bool = False) -> None:
        self._signal(program, signal.SIGKILL)

    def terminate(self, program: str, for_good: bool = False) -> None:
        self._signal(program, signal.SIGTERM)

    async def keep_down(self, program: str) -> None:
        """Nobody else starts programs here."""

    def pause(self, program: str) -> None:
        self._signal(program, signal.SIGSTOP)

    def resume(self, program: str) -> None:
        self._signal(program, signal.SIGCONT)

    @contextlib.contextmanager
    def others_still(self, program: str) -> Iterator[None]:
        """While the block changes the data directory of `program`, those who share it stand still: they see no half."""
        shared = self.scenario.data_name(program)
        others = [
            process
            for name, process in self._processes.items()
            if name != program and self.scenario.data_name(name) == shared and self.running(name)
        ]
        stopped = [process for process in others if process.stop()]
        try:
            yield
        finally:
            for process in stopped:
                process.signal(signal.SIGCONT)

    async def close(self, grace_s: float) -> None:
        for program in self._processes:
            self.resume(program)
            self.terminate(program)
        try:
            async with asyncio.timeout(grace_s):
                await self._all_ended()
        except TimeoutError:
            for program in self._processes:
                self.kill(program)
            await self._all_ended()
        finally:
            kill_marked(self.mark)

    async def _all_ended(self) -> None:
        await asyncio.gather(*(process.ended.wait() for process in self._processes.values()))


def kill_marked(mark: str) -> int:
    """SIGKILL every process that a run left behind, escaped sessions included; how many there were."""
    count = 0
    for pid in marked(mark) if sys.platform == "linux" else []:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count
