"""What breaks other taps: signals, threads, forks, stopped programs, a tap that dies, programs in other languages."""

import asyncio
import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from chaoskit.tap import (
    Call,
    Door,
    Ended,
    Event,
    Fired,
    Rule,
    Supervisor,
    Unseen,
    compile_filter,
    hand_over,
    install,
    receive,
    spawn,
    unavailable,
)

from .conftest import DEADLINE_S, Outcome, run, until_ended

Python = Callable[..., Outcome]

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def test_a_storm_of_signals_neither_loses_nor_doubles_a_write(python: Python, root: Path) -> None:
    source = """
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        f = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for n in range(3000):
            os.write(f, b"%04d\\n" % n)
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    outcome = python(source)
    assert outcome.code == 0, outcome.output
    assert (root / "f").read_text().split() == [f"{n:04d}" for n in range(3000)]
    assert outcome.points[-1] == "write:f#3000"


def test_threads_are_counted_in_the_order_of_answers(python: Python, root: Path) -> None:
    source = """
        f = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        def work(name):
            for n in range(200):
                os.write(f, b"%c%d\\n" % (name, n))
        threads = [threading.Thread(target=work, args=(name,)) for name in b"abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    outcome = python(source, Rule("r", op="write", path="f", nth=601, when="inside", byte=1))
    lines = (root / "f").read_text().split("\n")
    assert outcome.code == -signal.SIGKILL
    assert len(lines) == 601
    assert len(lines[-1]) == 1
    assert outcome.points[-1] == "write:f#600"


def is_gone(pid: int) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    dead = bool(select.select([pidfd], [], [], DEADLINE_S)[0])
    os.close(pidfd)
    return dead


def test_a_kill_takes_forked_and_detached_processes_along(python: Python, root: Path) -> None:
    source = """
        ready, go = os.pipe()
        for name in ("child", "orphan", "daemon"):
            if os.fork() == 0:
                if name == "daemon":
                    os.setsid()
                if name != "child" and os.fork():
                    os._exit(0)
                open(f"{name}.pid", "w").write(str(os.getpid()))
                os.write(go, b"x")
                while True:
                    time.sleep(0.001)
        os.read(ready, 1), os.read(ready, 1), os.read(ready, 1)
        os.mkdir("strike")
    """
    outcome = python(source, Rule("r", op="mkdir"))
    assert outcome.code == -signal.SIGKILL
    assert len(outcome.fired) == 1
    for name in ("child.pid", "orphan.pid", "daemon.pid"):
        assert is_gone(int((root / name).read_text()))


def test_nothing_of_the_program_is_answered_after_the_kill(python: Python, root: Path) -> None:
    source = """
        for n in range(8):
            if os.fork() == 0:
                break
        f = os.open(f"f{os.getpid()}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        while True:
            os.write(f, b"x")
    """
    outcome = python(source, Rule("r", op="write", nth=500, when="after"))
    assert sum(path.stat().st_size for path in root.iterdir()) == 500
    assert [type(event) for event in outcome.events[-3:]] == [Fired, Call, Ended]


def test_a_tap_that_dies_leaves_the_program_with_errors_and_not_hanging(root: Path) -> None:
    source = """
        import os
        f = os.open("f", os.O_CREAT | os.O_WRONLY)
        os.write(f, b"answered")
        try:
            os.write(f, b"never")
        except OSError as error:
            os._exit(error.errno)
    """
    command = [sys.executable, "-I", "-S", "-c", dedent(source)]
    child = spawn(command, env={}, cwd=root)
    assert child.listener_fd is not None

    def stop_after_the_first_write(event: Event) -> None:
        if isinstance(event, Call) and event.op == "write":
            raise KeyboardInterrupt

    supervisor = Supervisor(child.listener_fd, root=root, on_event=stop_after_the_first_write)
    with pytest.raises(KeyboardInterrupt):
        until_ended(supervisor)
    supervisor.close()
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    assert os.waitstatus_to_exitcode(status) == errno.ENOSYS
    assert (root / "f").read_bytes() == b"answered"


def test_a_paused_program_goes_on_when_it_is_continued(root: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c", "import os; os.mkdir('one'); os.mkdir('two')"]
    child = spawn(command, env={}, cwd=root)
    events: list[Event] = []
    assert child.listener_fd is not None
    rule = Rule("p", op="mkdir", path="one", action="pause")
    supervisor = Supervisor(child.listener_fd, root=root, rules=[rule], on_event=events.append)
    while not any(isinstance(event, Call) for event in events):
        select.select([supervisor], [], [], DEADLINE_S)
        supervisor.step()
    assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
    supervisor.step()
    assert not (root / "two").exists()
    os.kill(child.pid, signal.SIGCONT)
    until_ended(supervisor)
    supervisor.close()
    os.close(child.pidfd)
    assert os.waitpid(child.pid, 0)[1] == 0
    assert (root / "two").exists()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("flags", [["-static"], []])
def test_a_binary_is_tapped_through_a_shell(root: Path, tmp_path: Path, flags: list[str]) -> None:
    code = r"""
        #include <fcntl.h>
        #include <unistd.h>
        int main(void) {
            int f = open("f", O_CREAT | O_WRONLY | O_APPEND, 0644);
            for (int i = 0; i < 5; i++) write(f, "12345\n", 6);
            return rename("f", "g");
        }"""
    (tmp_path / "p.c").write_text(code)
    subprocess.run(["gcc", *flags, "-o", tmp_path / "p", tmp_path / "p.c"], check=True, capture_output=True)
    rule = Rule("r", op="write", path="f", nth=4, when="inside", byte=2)
    outcome = run(["/bin/sh", "-c", f"echo start >> f; exec {tmp_path}/p"], root, (rule,))
    assert outcome.code == -signal.SIGKILL
    assert (root / "f").read_text() == "start\n12345\n12345\n12"


def test_blind_spots_are_told(python: Python, root: Path) -> None:
    (root / "m").write_bytes(b"mapped")
    source = """
        import ctypes, mmap
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.syscall(425, 8, ctypes.create_string_buffer(120)), ctypes.get_errno())
        m = mmap.mmap(os.open("m", os.O_RDWR), 6)
        private = mmap.mmap(os.open("m", os.O_RDWR), 6, flags=mmap.MAP_PRIVATE)
        anonymous = mmap.mmap(-1, 6)
        m[0:1] = b"M"
    """
    outcome = python(source.replace("import ctypes", f"sys.path[:] = {sys.path!r}; import ctypes"))
    assert outcome.output == f"-1 {errno.ENOSYS}\n"
    reasons = [event.reason.split()[0] for event in outcome.events if isinstance(event, Unseen)]
    assert reasons == ["io_uring", "m"]


def test_a_program_that_cannot_start_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        spawn(["no-such-program"], env={"PATH": "/bin"}, cwd=tmp_path)
    with pytest.raises(OSError, match="Exec format error"):
        spawn(["./text"], env={}, cwd=tmp_path)
    with pytest.raises(FileNotFoundError):
        spawn(["/bin/true"], env={}, cwd=tmp_path / "missing")
    with pytest.raises(PermissionError):
        (tmp_path / "text").chmod(0o644)
        spawn(["./text"], env={}, cwd=tmp_path)
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_spawned_program_has_its_own_group_clean_signals_and_no_foreign_descriptors(root: Path) -> None:
    leaked, other = os.pipe()
    os.set_inheritable(leaked, True)
    source = """
        import os, signal
        print(os.getpgid(0) == os.getpid(), os.listdir("/proc/self/fd"), signal.pthread_sigmask(signal.SIG_BLOCK, []))
        ignored = [line.split()[1] for line in open("/proc/self/status") if line.startswith("SigIgn")]
        print(ignored, os.environ.get("LC_CTYPE", "C.UTF-8"), os.getcwd())
    """
    with (root.parent / "log").open("w+") as log:
        command = [sys.executable, "-I", "-S", "-c", dedent(source)]
        child = spawn(command, env={}, cwd=root, stdout=log.fileno(), stderr=log.fileno(), tapped=False)
        assert child.listener_fd is None
        os.waitpid(child.pid, 0)
        os.close(child.pidfd)
        log.seek(0)
        output = log.read()
    os.close(leaked)
    os.close(other)
    # Python itself ignores SIGPIPE and SIGXFSZ; descriptor 3 is the listing's own. The two signals that the C library
    # keeps for itself (32 and 33) stay as they were inherited: nobody but it can set them.
    first, second = output.splitlines()
    assert first == "True ['0', '1', '2', '3'] set()"
    ignored, rest = second.split(" ", 1)
    assert int(ignored.strip("[']"), 16) & ~(0b11 << 31) == 0x1001000
    assert rest == f"C.UTF-8 {root}"


def test_the_loop_of_asyncio_drives_it_while_it_serves_others(root: Path) -> None:
    async def scenario() -> tuple[list[Event], bytes]:
        loop = asyncio.get_running_loop()
        events: list[Event] = []
        ended = asyncio.Event()
        received = bytearray()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                received.extend(data)
                writer.write(b"ok")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        source = f"""
            import os, socket
            broker = socket.create_connection(("127.0.0.1", {port}))
            f = os.open("f", os.O_CREAT | os.O_WRONLY)
            for n in range(50):
                os.write(f, b"row")
                broker.sendall(b"publish")
                assert broker.recv(9) == b"ok"
        """
        command = [sys.executable, "-c", dedent(source)]
        child = spawn(command, env={}, cwd=root)
        assert child.listener_fd is not None

        def on_event(event: Event) -> None:
            events.append(event)
            if isinstance(event, Ended):
                loop.remove_reader(supervisor.fileno())
                ended.set()

        rule = Rule("r", op="send", path="broker", nth=30, when="inside", byte=3)
        supervisor = Supervisor(
            child.listener_fd, root=root, rules=[rule], on_event=on_event, broker=("127.0.0.1", port)
        )
        loop.add_reader(supervisor.fileno(), supervisor.step)
        await asyncio.wait_for(ended.wait(), DEADLINE_S)
        supervisor.close()
        os.waitpid(child.pid, 0)
        os.close(child.pidfd)
        server.close()
        for _ in range(100):
            if len(received) == 7 * 29 + 3:
                break
            await asyncio.sleep(0)
        return events, bytes(received)

    events, received = asyncio.run(scenario())
    assert received == b"publish" * 29 + b"pub"
    assert [event.point for event in events if isinstance(event, Fired)] == ["program/0/send:broker#30@3"]
    assert sum(isinstance(event, Call) and event.op == "send" for event in events) == 29


@pytest.mark.parametrize(("when", "expected"), [("before", b"one"), ("inside", b"onetw"), ("after", b"onetwo")])
@pytest.mark.parametrize("call", ["c.send(b'two')", "c.sendmsg([b't', b'wo'])", "os.writev(c.fileno(), [b'two'])"])
def test_a_kill_at_a_send_lets_exactly_its_bytes_through(python: Python, when: str, expected: bytes, call: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = f"""
            import socket
            c = socket.create_connection(("127.0.0.1", {port}))
            c.send(b"one")
            c.send(bytes([8, 0, 0, 0, 0, 0, 0, 206]))
            {call}
            c.send(b"never")
        """
        rule = Rule("r", op="send", path="broker", nth=2, when=when, byte=2)
        heartbeat = bytes([8, 0, 0, 0, 0, 0, 0, 206])
        outcome = python(f"sys.path[:] = {sys.path!r}\n" + dedent(source), rule, broker=("localhost", port))
        assert outcome.code == -signal.SIGKILL, outcome.output
        connection, _ = server.accept()
        with connection:
            connection.settimeout(DEADLINE_S)
            received = b""
            while data := connection.recv(100):
                received += data
    assert received.replace(heartbeat, b"") == expected


def test_other_sockets_and_pipes_are_not_counted(python: Python) -> None:
    source = f"""
        sys.path[:] = {sys.path!r}
        import socket
        a, b = socket.socketpair()
        a.send(b"x"); os.write(a.fileno(), b"y"); print(b.recv(2))
        r, w = os.pipe(); os.write(w, b"z"); print(os.read(r, 1))
    """
    outcome = python(source, broker=("127.0.0.1", 1))
    assert outcome.output == "b'xy'\nb'z'\n"
    assert outcome.points == []


def test_a_forked_interpreter_is_tapped_without_an_exec(root: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = compile_filter()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        ours.close()
        hand_over(theirs, install(program))
        (root / "f").write_bytes(b"0123456789")
        os._exit(0)
    theirs.close()
    events: list[Event] = []
    _, listener_fd = receive(ours)
    assert listener_fd is not None
    rule = Rule("r", op="write", path="f", when="inside", byte=3)
    supervisor = Supervisor(listener_fd, root=root, rules=[rule], on_event=events.append)
    until_ended(supervisor)
    supervisor.close()
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert (root / "f").read_bytes() == b"012"


def test_the_launcher_brings_a_program_to_a_door(root: Path, tmp_path: Path) -> None:
    launcher = Path(sys.modules["chaoskit.tap"].__file__ or "").with_name("launcher.py")
    with Door(tmp_path / "door") as door:
        command = [sys.executable, "-I", str(launcher), "--socket", str(tmp_path / "door"), "--"]
        program = [sys.executable, "-I", "-S", "-c", "open('f', 'wb').write(b'0123456789')"]
        started = subprocess.Popen([*command, *program], cwd=root, start_new_session=True)
        assert select.select([door], [], [], DEADLINE_S)[0]
        channel = door.greet()
        _, listener_fd = receive(channel)
        channel.close()
        assert listener_fd is not None
        events: list[Event] = []
        rule = Rule("r", op="write", path="f", when="inside", byte=3)
        supervisor = Supervisor(listener_fd, root=root, rules=[rule], on_event=events.append)
        until_ended(supervisor)
        supervisor.close()
        assert started.wait(DEADLINE_S) == -signal.SIGKILL
    assert (root / "f").read_bytes() == b"012"
    assert not (tmp_path / "door").exists()


def test_a_hundred_lives_leak_no_descriptor(root: Path) -> None:
    def one_life(nth: int) -> None:
        rule = Rule("r", op="write", path="f", nth=nth, when="after")
        run(["/bin/sh", "-c", "echo a >> f; echo b >> f; mkdir d"], root, (rule,))

    one_life(1)
    before = sorted(os.listdir("/proc/self/fd"))
    for n in range(20):
        one_life(n % 3 + 1)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_finding_out_whether_the_tap_works_is_quick() -> None:
    unavailable.cache_clear()
    start_s = time.perf_counter()
    assert unavailable() is None
    assert time.perf_counter() - start_s < 0.5
