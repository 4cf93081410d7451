"""The static launcher as a process: its program is as it would have been alone, and its errors say what is wrong."""

import os
import platform
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaoskit.tap import Call, Door, Event, Fired, Rule, Supervisor, compile_filter, receive, unavailable
from chaoskit.tap.native import launcher

from .conftest import DEADLINE_S, until_ended

tapped = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

# Prints everything that a program has from the process it was, and does something for the tap to see.
MIRROR = r"""
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const FIELDS[] = {"Name:", "Umask:", "PPid:", "Uid:", "Gid:", "Groups:", "SigPnd:", "ShdPnd:",
    "SigBlk:", "SigIgn:", "SigCgt:", "CapEff:", "CapBnd:", "Threads:"};

int main(int count, char **arguments, char **environment) {
    static char line[65536];
    for (int i = 0; i < count; i++) printf("argument %s\n", arguments[i]);
    for (char **name = environment; *name; name++) printf("environment %s\n", *name);
    printf("cwd %s\n", getcwd(line, sizeof line));
    printf("group %d session %d\n", getpgid(0) == getpid(), getsid(0) == getpid());
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status))
        for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
            if (!strncmp(line, FIELDS[i], strlen(FIELDS[i]))) fputs(line, stdout);
    fclose(status);
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(folder));)
        if (atoi(entry->d_name) != dirfd(folder)) printf("descriptor %s\n", entry->d_name);
    closedir(folder);
    struct rlimit limit;
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        getrlimit(i, &limit);
        printf("limit %d %llu %llu\n", i, (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    }
    int death_signal = 0;
    prctl(PR_GET_PDEATHSIG, &death_signal);
    printf("death signal %d nice %d\n", death_signal, getpriority(PRIO_PROCESS, 0));
    ssize_t received = read(0, line, sizeof line);
    printf("input %.*s\n", (int)received, received > 0 ? line : "");
    fputs("error\n", stderr);
    fflush(stdout);
    int f = open("f", O_CREAT | O_WRONLY | O_TRUNC, 0644);
    for (int i = 0; i < 4; i++)
        if (write(f, "12345\n", 6) != 6) return 1;
    fsync(f);
    return rename("f", "g") ? 1 : 42;
}
"""


@dataclass
class Life:
    """What became of a command behind a door: its exit code, process id, output, errors, and the tap's events."""

    code: int
    pid: int
    output: str
    errors: str
    events: list[Event] = field(default_factory=list)

    @property
    def points(self) -> list[str]:
        return [event.point.partition("/0/")[2] for event in self.events if isinstance(event, Call | Fired)]


def supervise(channel: socket.socket, root: Path, rules: tuple[Rule, ...]) -> list[Event]:
    """Take the listener that comes through a channel, and answer until the program has ended."""
    events: list[Event] = []
    with channel:
        channel.settimeout(DEADLINE_S)
        _, listener_fd = receive(channel)
    assert listener_fd is not None, "the launcher gave up before it had a listener"
    supervisor = Supervisor(listener_fd, root=root, rules=rules, on_event=events.append)
    try:
        until_ended(supervisor)
    finally:
        supervisor.close()
    return events


def finish(process: subprocess.Popen[bytes], events: list[Event] | None = None) -> Life:
    output, errors = process.communicate(timeout=DEADLINE_S)
    return Life(process.returncode, process.pid, output.decode(), errors.decode(), events or [])


@pytest.fixture
def native(tmp_path: Path) -> Path:
    """The executable for this machine."""
    try:
        content = launcher(platform.machine())
    except OSError as error:
        pytest.skip(str(error))
    path = tmp_path / "launcher"
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts commands; none of them outlives the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        processes.append(subprocess.Popen(command, **given))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def behind_the_door(started: Any, root: Path, tmp_path: Path) -> Callable[..., Life]:
    """Runs `LAUNCHER --socket DOOR -- COMMAND` in the watched directory under a supervisor until it ends."""

    def run(launching: list[str], command: list[str], *rules: Rule, **options: Any) -> Life:
        with Door(tmp_path / "door") as door:
            line = [*launching, "--socket", str(tmp_path / "door"), "--", *command]
            process = started(line, **{"cwd": root, **options})
            assert select.select([door], [], [], DEADLINE_S)[0], "nobody knocked"
            return finish(process, supervise(door.greet(), root, rules))

    return run


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program that shows what it has from the process it was."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "mirror.c").write_text(MIRROR)
    subprocess.run(["gcc", "-static", "-o", folder / "mirror", folder / "mirror.c"], check=True, capture_output=True)
    return folder / "mirror"


def unusual_process() -> None:
    """Settings that a careless launcher would lose."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])
    signal.raise_signal(signal.SIGUSR2)
    os.umask(0o027)
    os.nice(3)
    os.dup2(1, 9)


@tapped
def test_a_program_is_what_it_would_have_been_alone(
    native: Path, mirror: Path, started: Any, behind_the_door: Any, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "input").write_text("from a file")
    environment = {"PATH": f"/nowhere:{mirror.parent}", "EMPTY": "", "UTF": "\u00e4=\n"}
    options = {"env": environment, "cwd": root, "preexec_fn": unusual_process, "start_new_session": True}
    command = ["mirror", "", "two words", "--socket", "--"]
    with (tmp_path / "input").open() as given:
        alone = finish(started(command, stdin=given, **options))
    (root / "g").unlink()
    with (tmp_path / "input").open() as given:
        launched = behind_the_door([str(native)], command, stdin=given, **options)
    assert alone.output.count("\n") > 40
    assert (launched.code, launched.errors) == (alone.code, alone.errors) == (42, "error\n")
    assert launched.output == alone.output
    writes = [f"write:f#{nth}" for nth in range(1, 5)]
    assert launched.points == ["create:f#1", *writes, "fsync:f#1", "rename:g#1"]


@tapped
@pytest.mark.parametrize("rules", [(), (Rule("r", op="write", path="f", nth=3, when="inside", byte=2),)])
def test_it_can_take_the_place_of_the_launcher_in_python(
    native: Path, mirror: Path, behind_the_door: Any, root: Path, rules: tuple[Rule, ...]
) -> None:
    twin = Path(sys.modules["chaoskit.tap"].__file__ or "").with_name("launcher.py")
    lives, contents = [], []
    for launching in ([str(native)], [sys.executable, "-I", str(twin)]):
        lives.append(behind_the_door(launching, [str(mirror)], *rules))
        contents.append({path.name: path.read_bytes() for path in root.iterdir()})
        for path in root.iterdir():
            path.unlink()
    first, second = lives
    assert contents[0] == contents[1]
    assert first.points == second.points
    assert first.code == second.code == (-signal.SIGKILL if rules else 42)


@tapped
def test_the_program_has_the_process_id_that_was_started(native: Path, started: Any, behind_the_door: Any) -> None:
    life = behind_the_door([str(native)], ["/bin/sh", "-c", "echo $$; exec mkdir d"])
    assert life.output == f"{life.pid}\n"
    assert {event.pid for event in life.events if isinstance(event, Call)} == {life.pid}


@tapped
def test_a_signal_ends_the_program_by_its_own_handler(native: Path, started: Any, root: Path, tmp_path: Path) -> None:
    source = """if True:
        import os, signal
        def stop(*_):
            os.write(1, b"stopped\\n")
            os._exit(7)
        signal.signal(signal.SIGTERM, stop)
        os.write(1, b"ready\\n")
        signal.pause()
    """
    command = [sys.executable, "-I", "-S", "-c", source]
    with Door(tmp_path / "door") as door:
        process = started([str(native), "--socket", str(tmp_path / "door"), "--", *command], cwd=root)
        assert select.select([door], [], [], DEADLINE_S)[0]
        channel = door.greet()
        _, listener_fd = receive(channel)
        channel.close()
    assert listener_fd is not None
    supervisor = Supervisor(listener_fd, root=root, on_event=lambda _: None)
    while not select.select([process.stdout], [], [], 0)[0]:
        select.select([supervisor, process.stdout], [], [], DEADLINE_S)
        supervisor.step()
    process.send_signal(signal.SIGTERM)
    until_ended(supervisor)
    supervisor.close()
    life = finish(process)
    assert (life.code, life.output, life.errors) == (7, "ready\nstopped\n", "")


@tapped
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_descriptor_stays_closed(native: Path, behind_the_door: Any, root: Path, closed: int) -> None:
    script = f"test -e /proc/$$/fd/{closed}; echo $? > told"
    life = behind_the_door([str(native)], ["sh", "-c", script], preexec_fn=lambda: os.close(closed))
    assert life.code == 0
    assert (root / "told").read_text() == "1\n"


# --- finding the command ---


def script(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@tapped
def test_the_command_is_found_as_execvp_finds_it(
    native: Path, behind_the_door: Any, root: Path, tmp_path: Path
) -> None:
    script(tmp_path / "first" / "app", "not this one", mode=0o644)
    (tmp_path / "second" / "app").mkdir(parents=True)
    script(tmp_path / "third" / "app", "#!/bin/sh\necho third $0\n")
    script(tmp_path / "fourth" / "app", "#!/bin/sh\necho fourth\n")
    path = ":".join(str(tmp_path / name) for name in ("missing", "first", "second", "third", "fourth"))
    life = behind_the_door([str(native)], ["app"], env={"PATH": path})
    assert (life.code, life.output) == (0, f"third {tmp_path}/third/app\n")


@tapped
@pytest.mark.parametrize("path", ["", "/nowhere::/bin", "/nowhere:", ":/bin"])
def test_an_empty_entry_of_path_is_the_working_directory(
    native: Path, behind_the_door: Any, root: Path, path: str
) -> None:
    script(root / "app", "#!/bin/sh\necho here\n")
    life = behind_the_door([str(native)], ["app"], env={"PATH": path})
    assert (life.code, life.output) == (0, "here\n")


@tapped
def test_without_path_the_default_one_is_searched(native: Path, behind_the_door: Any) -> None:
    life = behind_the_door([str(native)], ["sh", "-c", "echo found"], env={"X": "PATH=/nowhere"})
    assert (life.code, life.output) == (0, "found\n")


@tapped
def test_a_relative_command_is_taken_from_the_working_directory(native: Path, behind_the_door: Any, root: Path) -> None:
    script(root / "bin" / "app", "#!/bin/sh\necho $0\n")
    assert behind_the_door([str(native)], ["bin/app"], env={"PATH": "/nowhere"}).output == "bin/app\n"


# --- errors ---


def emulator() -> list[str]:
    found = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if found is None:
        pytest.skip("qemu-user is not installed")
    return [found]


@pytest.fixture(params=["this machine", "aarch64"])
def any_launcher(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The launcher of this machine, and the one for aarch64 in an emulator, which has everything but seccomp."""
    machine = platform.machine() if request.param == "this machine" else request.param
    if request.param == "aarch64" and platform.machine() in ("aarch64", "arm64"):
        pytest.skip("this machine is aarch64 itself")
    prefix = emulator() if request.param == "aarch64" else []
    path = tmp_path / f"launcher-{machine}"
    path.write_bytes(launcher(machine))
    path.chmod(0o755)
    return [*prefix, str(path)]


def told(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and the one line on standard error."""
    life = finish(process)
    assert life.output == ""
    assert life.errors.startswith("launcher: ") and life.errors.count("\n") == 1, life.errors
    return life.code, life.errors.removeprefix("launcher: ").rstrip("\n")


@pytest.mark.parametrize(
    "arguments", [[], ["--socket", "/s"], ["--socket", "/s", "--"], ["--socket", "/s", "true", "x"]]
)
def test_wrong_arguments_are_told(any_launcher: list[str], started: Any, arguments: list[str]) -> None:
    assert told(started([*any_launcher, *arguments])) == (125, "expected --socket PATH -- COMMAND [ARGUMENT...]")


@pytest.mark.parametrize("name", ["no-such-app", "./no-such-app", "/etc/passwd/app", ""])
def test_a_command_that_is_not_there_is_127(any_launcher: list[str], started: Any, tmp_path: Path, name: str) -> None:
    code, line = told(started([*any_launcher, "--socket", "/s.sock", "--", name], env={"PATH": f"{tmp_path}:/bin"}))
    searched = "the file system" if "/" in name else f"{tmp_path}:/bin"
    assert code == 127
    assert line == (
        f"cannot start {name} under the tap at /s.sock: it is not found in {searched}; check the command and PATH"
    )


def test_a_command_without_permission_is_126(any_launcher: list[str], started: Any, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "app", "#!/bin/sh\n", mode=0o644)
    for name in ("app", str(tmp_path / "bin" / "app"), str(tmp_path / "bin")):
        environment = {"PATH": f"/nowhere:{tmp_path}/bin:/bin"}
        code, line = told(started([*any_launcher, "--socket", "/s.sock", "--", name], env=environment))
        assert code == 126
        assert f"cannot start {name} under the tap at /s.sock: {tmp_path}/bin" in line
        assert "cannot be executed: permission denied; check its permissions" in line


def test_a_socket_that_is_not_there_is_125(any_launcher: list[str], started: Any, tmp_path: Path) -> None:
    path = tmp_path / "none"
    code, line = told(started([*any_launcher, "--socket", str(path), "--", "/bin/true"]))
    assert code == 125
    assert line.startswith(f"cannot start /bin/true under the tap at {path}: connecting: no such file or directory; ")


def test_a_socket_that_nobody_listens_at_is_125(any_launcher: list[str], started: Any, tmp_path: Path) -> None:
    path = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    code, line = told(started([*any_launcher, "--socket", str(path), "--", "/bin/true"]))
    assert code == 125
    assert f"at {path}: connecting: connection refused; chaoskit starts the supervisor first" in line


def test_a_socket_of_another_kind_is_125(any_launcher: list[str], started: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(tmp_path / "stream"))
        stream.listen()
        code, line = told(started([*any_launcher, "--socket", str(tmp_path / "stream"), "--", "/bin/true"]))
    assert (code, "connecting: it is a socket of another kind" in line) == (125, True)


def test_a_path_that_is_too_long_for_a_socket_is_125(any_launcher: list[str], started: Any) -> None:
    code, line = told(started([*any_launcher, "--socket", "/" + "s" * 107, "--", "/bin/true"]))
    assert (code, line[-47:]) == (125, "file name too long; a socket's path has at most 107 bytes"[-47:])


def test_a_name_cannot_break_the_line_or_run_over(any_launcher: list[str], started: Any) -> None:
    code, line = told(started([*any_launcher, "--socket", "/s.sock", "--", "two\nlines\x1b" + "x" * 9000]))
    assert code == 127
    assert line.startswith("cannot start two?lines?xxx")
    assert len(line) < 6000


@pytest.fixture
def station(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that launchers connect to, and that is not a Door."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "station"))
        listening.listen()
        listening.settimeout(DEADLINE_S)
        yield listening


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (None, "the supervisor hung up"),
        (b"1234567", "what came is no filter"),
        (bytes(8 * 4097), "what came is no filter"),
    ],
)
def test_a_supervisor_that_sends_no_filter_is_125(
    any_launcher: list[str], started: Any, station: socket.socket, message: bytes | None, why: str
) -> None:
    process = started([*any_launcher, "--socket", station.getsockname(), "--", "/bin/true"])
    channel, _ = station.accept()
    with channel:
        if message is not None:
            channel.send(message)
    code, line = told(process)
    assert (code, f"waiting for the filter: {why}; look into the supervisor's log" in line) == (125, True)


def test_a_filter_that_the_kernel_refuses_is_125(any_launcher: list[str], started: Any, station: socket.socket) -> None:
    process = started([*any_launcher, "--socket", station.getsockname(), "--", "/bin/true"])
    channel, _ = station.accept()
    with channel:
        channel.send(b"\xff" * 16)
        code, line = told(process)
    assert code == 125
    assert "installing the filter: " in line and "seccomp profile" in line


@tapped
def test_a_launcher_that_was_stopped_while_it_waited_goes_on(
    native: Path, started: Any, root: Path, tmp_path: Path
) -> None:
    with Door(tmp_path / "door") as door:
        process = started([str(native), "--socket", str(tmp_path / "door"), "--", "true"], cwd=root)
        assert select.select([door], [], [], DEADLINE_S)[0]
        wait_until_blocked(process.pid)
        process.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        process.send_signal(signal.SIGCONT)
        wait_until_blocked(process.pid)
        life = finish(process, supervise(door.greet(), root, ()))
    assert (life.code, life.errors) == (0, "")


def wait_until_blocked(pid: int) -> None:
    """Return when the process waits inside a system call that receives."""
    receiving = {"x86_64": "45", "aarch64": "207"}[platform.machine()]
    end = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}/syscall").read_text().split()[0] != receiving:
        assert time.monotonic() < end, "the launcher does not wait for the filter"


@tapped
def test_a_program_that_the_kernel_cannot_execute_is_126(native: Path, behind_the_door: Any, tmp_path: Path) -> None:
    script(tmp_path / "text", "echo a shell would run me\n")
    script(tmp_path / "orphan", "#!/no/such/interpreter\n")
    life = behind_the_door([str(native)], [str(tmp_path / "text")])
    assert (life.code, life.output) == (126, "")
    assert "text cannot be executed: exec format error; it needs a #! line" in life.errors
    life = behind_the_door([str(native)], [str(tmp_path / "orphan")])
    assert (life.code, life.output) == (126, "")
    assert "orphan cannot be executed: no such file or directory; check" in life.errors


@tapped
def test_a_program_that_is_tapped_already_is_125(native: Path, behind_the_door: Any, station: socket.socket) -> None:
    def give_a_filter() -> None:
        channel, _ = station.accept()
        with channel:
            channel.send(compile_filter())
            channel.recv(1)

    again = [str(native), "--socket", station.getsockname(), "--", "/bin/true"]
    second = threading.Thread(target=give_a_filter)
    second.start()
    life = behind_the_door([str(native)], again)
    second.join(DEADLINE_S)
    assert life.code == 125
    assert "installing the filter: another supervisor holds this process already; " in life.errors


@tapped
def test_a_supervisor_that_goes_away_leaves_errors_and_no_waiting_program(
    native: Path, started: Any, root: Path, tmp_path: Path
) -> None:
    with Door(tmp_path / "door") as door:
        line = [str(native), "--socket", str(tmp_path / "door"), "--", "mkdir", "d"]
        process = started(line, cwd=root)
        assert select.select([door], [], [], DEADLINE_S)[0]
        channel = door.greet()
        _, listener_fd = receive(channel)
        channel.close()
    assert listener_fd is not None
    os.close(listener_fd)
    life = finish(process)
    assert life.code == 1
    assert not (root / "d").exists()


@pytest.mark.soak
@pytest.mark.parametrize("accepted", [False, True])
def test_a_supervisor_that_does_not_answer_is_given_up(
    native: Path, started: Any, station: socket.socket, accepted: bool
) -> None:
    process = started([str(native), "--socket", station.getsockname(), "--", "/bin/true"])
    channel = station.accept()[0] if accepted else None
    output, errors = process.communicate(timeout=40)
    if channel is not None:
        channel.close()
    assert (process.returncode, output) == (125, b"")
    assert b"waiting for the filter: no answer in time; look into the supervisor's log" in errors
