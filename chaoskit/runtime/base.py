"""What the engine sees of a runtime: start programs, signal them, hear their lines and their ends."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Launch(NamedTuple):
    """One life of one program, ready to be started. `output` becomes its standard output and error."""

    program: str
    life: int
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    output: int


# Starts a launch and returns its process id. The engine chooses it: plain, under the tap, forked from a prepared
# interpreter. Raises OSError when the command cannot be started.
Spawner = Callable[[Launch], int]


class Listener(Protocol):
    """Who hears what happens to programs. Called in the engine's loop, in order; must not block."""

    def program_started(self, program: str, life: int, pid: int) -> None: ...

    def program_line(self, program: str, life: int, text: str) -> None: ...

    def program_exited(self, program: str, life: int, code: int) -> None: ...


class Runtime(Protocol):
    """A place where the programs of one scenario run. Signals of a program that is not running do nothing."""

    name: str

    def start(self, program: str, life: int, environment: Mapping[str, str]) -> None:
        """Begin a life. Raises EnvironmentProblem when the command cannot be started."""

    def running(self, program: str) -> bool: ...

    def starts_again(self, program: str) -> bool:
        """Whether somebody else starts the program again, however it ends."""

    def kill(self, program: str, for_good: bool = False) -> None:
        """SIGKILL every process of the program; `for_good`, nobody but `start` may start it again."""

    def terminate(self, program: str, for_good: bool = False) -> None: ...

    async def keep_down(self, program: str) -> None:
        """Between two lives: when this returns, nobody but `start` starts it again. Raises EnvironmentProblem."""

    def pause(self, program: str) -> None: ...

    def resume(self, program: str) -> None: ...

    async def close(self, grace_s: float) -> None:
        """Stop every program (SIGTERM, then SIGKILL after `grace_s`) and leave nothing behind."""
