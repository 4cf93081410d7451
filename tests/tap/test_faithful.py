"""A program cannot tell that it is tapped: same results, same errors, same files, same owners."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from .conftest import Outcome

Python = Callable[..., Outcome]

HELPERS = """
import ctypes, resource
libc = ctypes.CDLL(None, use_errno=True)
def show(call, *arguments, **options):
    try:
        print(call.__name__, call(*arguments, **options), flush=True)
    except OSError as error:
        print(call.__name__, "failed", error.errno, flush=True)
def opened(name, flags=os.O_CREAT | os.O_RDWR, mode=0o666):
    return os.open(name, flags, mode)
"""

PROGRAMS = {
    "errors of writes": """
        f = opened("f")
        show(os.write, os.open("f", os.O_RDONLY), b"x")
        show(os.write, os.open("f", os.O_PATH), b"x")
        show(os.fsync, os.open("f", os.O_PATH))
        show(os.write, 99, b"x")
        show(os.fsync, 99)
        show(os.pwrite, f, b"x", -1)
        show(os.ftruncate, f, -1)
        show(os.ftruncate, os.open("f", os.O_RDONLY), 5)
        print(libc.write(f, ctypes.c_void_p(8), 100), ctypes.get_errno())
        print(libc.write(f, None, 0), libc.writev(f, None, 5000), ctypes.get_errno())
        show(os.fsync, os.pipe()[0])
    """,
    "offsets": """
        f, a = opened("f"), opened("f", os.O_WRONLY | os.O_APPEND)
        show(os.write, f, b"0123456789")
        show(os.lseek, f, 2, 0)
        show(os.write, f, b"ab")
        show(os.pwrite, f, b"P", 0)
        show(os.write, a, b"end")
        show(os.pwrite, a, b"end", 0)
        show(os.writev, f, [b"c", b"", b"de"])
        show(os.pwritev, f, [b"X", b"Y"], -1, os.RWF_SYNC)
        show(os.pwritev, f, [b"Z"], 0, os.RWF_APPEND)
        show(os.lseek, f, 0, 1)
        d = os.dup(f); os.lseek(d, 40, 0); show(os.write, f, b"hole")
        print(open("f", "rb").read())
    """,
    "transfers": """
        open("from", "wb").write(b"0123456789")
        source, sink = os.open("from", 0), opened("to")
        show(os.sendfile, sink, source, None, 4)
        show(os.sendfile, sink, source, 8, 100)
        show(os.copy_file_range, source, sink, 3)
        show(os.copy_file_range, source, sink, 5, 0, 20)
        r, w = os.pipe(); os.write(w, b"piped")
        show(os.splice, r, sink, 100)
        show(os.lseek, source, 0, 1); show(os.lseek, sink, 0, 1)
        print(open("to", "rb").read())
    """,
    "opens": """
        os.umask(0o027)
        a = opened("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        print(os.get_inheritable(a), oct(os.fstat(a).st_mode))
        show(opened, "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        show(opened, "missing/a"); show(opened, "a/b"); show(opened, "a/"); show(opened, "."); show(opened, "")
        show(opened, "x" * 300)
        os.write(a, b"full"); b = os.open("a", os.O_WRONLY | os.O_TRUNC); print(os.path.getsize("a"))
        os.symlink("a", "link"); show(opened, "link", os.O_CREAT | os.O_NOFOLLOW | os.O_WRONLY)
        os.symlink("dangling", "hanging"); opened("hanging"); print(sorted(os.listdir()))
        os.symlink("loop", "loop"); show(opened, "loop")
        os.mkdir("d", 0o777); d = os.open("d", os.O_RDONLY); os.open("n", os.O_CREAT, 0o777, dir_fd=d)
        print(oct(os.stat("d").st_mode), oct(os.stat("d/n").st_mode))
        t = os.open(".", os.O_TMPFILE | os.O_RDWR); os.write(t, b"unnamed")
        libc.linkat(-100, b"/proc/self/fd/%d" % t, -100, b"named", 0x400)
        os.mkfifo("pipe"); p = os.open("pipe", os.O_RDWR | os.O_CREAT); show(os.write, p, b"x")
        opened("../outside"); os.unlink("../outside")
        resource.setrlimit(resource.RLIMIT_NOFILE, (p + 1, p + 1)); show(opened, "many")
    """,
    "entries": """
        opened("a"); os.mkdir("d"); os.mkdir("full"); opened("full/x")
        show(os.mkdir, "d"); show(os.mkdir, "d/e/"); show(os.rmdir, "full"); show(os.rmdir, "a"); show(os.unlink, "d")
        show(os.unlink, "none"); show(os.unlink, "a/"); show(os.rename, "none", "b"); show(os.rename, "a", "d")
        show(os.rename, "a", "full/a"); show(os.rename, "full", "full/sub"); show(os.link, "full/a", "hard")
        show(os.link, "full/a", "hard"); show(os.link, "d", "hardd"); show(os.symlink, "full", "soft")
        show(os.rename, "soft/a", "soft/b"); show(os.truncate, "soft/b", 7); show(os.truncate, "d", 7)
        show(os.truncate, "none", 7); show(os.rename, ".", "x"); show(os.rmdir, "."); show(os.mkdir, "/")
        show(os.mknod, "node"); show(os.rename, "/proc/self/cwd/node", "/proc/self/cwd/d/node")
        print(os.stat("hard").st_nlink, sorted(os.walk(".")))
    """,
    "a limit on the file's size": """
        f = opened("f")
        resource.setrlimit(resource.RLIMIT_FSIZE, (999, 999))
        show(os.write, f, b"0123456789" * 200)
        show(os.write, f, b"0123456789")
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.write(f, b"dies of SIGXFSZ")
    """,
    "pipes": """
        r, w = os.pipe(); os.close(r)
        show(os.write, w, b"x")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.write(w, b"dies of SIGPIPE")
    """,
    "a stranger's rights": """
        os.mkdir("theirs"); os.mkdir("open"); os.chmod("open", 0o777); opened("theirs/f")
        os.write(opened("open/f"), b"x")
        os.setgroups([4242]); os.setgid(4243); os.setuid(4244); os.umask(0o007)
        show(opened, "theirs/new"); show(os.unlink, "theirs/f"); show(os.rename, "open/f", "theirs/g")
        show(os.truncate, "theirs/f", 9); show(opened, "open/f", os.O_WRONLY | os.O_TRUNC)
        show(os.mkdir, "open/d"); show(opened, "open/d/f", os.O_CREAT | os.O_WRONLY)
        show(os.rename, "open/d/f", "open/g")
        show(os.link, "open/g", "open/h"); show(os.symlink, "open/g", "open/s"); show(os.mkdir, "more")
    """,
}


def tree(root: Path) -> list[tuple[object, ...]]:
    """Every entry with its kind, mode, owner, size and content."""
    found: list[tuple[object, ...]] = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((str(path.relative_to(root)), status.st_mode, status.st_uid, status.st_gid, content))
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_tapped_program_sees_what_an_untapped_one_sees(python: Python, tmp_path: Path, root: Path, name: str) -> None:
    if "stranger" in name and os.geteuid() != 0:
        pytest.skip("only root can become someone else")
    source = HELPERS + dedent(PROGRAMS[name])
    plain = tmp_path / "plain"
    plain.mkdir()
    prelude = "import os, sys, signal, socket, threading, time\n"
    command = [sys.executable, "-I", "-S", "-c", prelude + source]
    expected = subprocess.run(command, cwd=plain, capture_output=True, text=True, check=False)
    outcome = python(source)
    assert outcome.output == expected.stdout + expected.stderr
    assert outcome.code == expected.returncode
    assert tree(root) == tree(plain)


def test_only_calls_that_change_something_are_counted(python: Python, root: Path) -> None:
    (root / "there").write_text("old")
    source = """
        f = os.open("there", os.O_CREAT | os.O_RDWR)
        os.write(f, b"")
        os.read(f, 3)
        os.ftruncate(f, 3)
        for failing in (lambda: os.unlink("none"), lambda: os.mkdir("there"), lambda: os.write(77, b"x")):
            try:
                failing()
            except OSError:
                pass
        os.write(1, b"log line\\n")
        os.open("/dev/null", os.O_CREAT | os.O_WRONLY)
        os.write(f, b"new")
        os.fsync(f)
        os.fsync(os.open(".", os.O_RDONLY))
        os.open("there", os.O_TRUNC | os.O_WRONLY)
        os.open("there", os.O_TRUNC | os.O_WRONLY)
    """
    assert python(source).points == ["write:there#1", "fsync:there#1", "fsync:.#1", "truncate:there#1"]


def test_paths_are_found_through_links_descriptors_and_other_directories(python: Python, root: Path) -> None:
    (root / "sub").mkdir()
    (root.parent / "elsewhere").symlink_to(root / "sub")
    source = """
        open("../elsewhere/one", "w").write("1")
        os.chdir("sub")
        open("two", "w").write("2")
        up = os.open("..", os.O_RDONLY)
        os.open("sub/three", os.O_CREAT, dir_fd=up)
        os.rename("two", "../two")
    """
    expected = ["create:sub/one#1", "write:sub/one#1", "create:sub/two#1", "write:sub/two#1", "create:sub/three#1"]
    assert python(source).points == [*expected, "rename:two#1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_absolute_links_lead_where_the_program_sees_them(python: Python, root: Path) -> None:
    (root / "inner").mkdir()
    (root / "jump").symlink_to("/inner")
    source = """
        os.chroot(".")
        os.open("/jump/f", os.O_CREAT | os.O_WRONLY)
        os.chdir("/inner")
        os.mkdir("../jump/d")
    """
    assert python(source).points == ["create:inner/f#1", "mkdir:inner/d#1"]
