"""A program that does a bit of everything, for the tests: `container_program.py WHAT FOLDER [UMASK]`."""

import contextlib
import os
import socket
import sys


def write(path: str, data: bytes, flags: int = os.O_CREAT | os.O_APPEND) -> int:
    fd = os.open(path, flags | os.O_WRONLY, 0o666)
    written = os.write(fd, data)
    os.close(fd)
    return written


def rows(folder: str) -> None:
    """Append rows and make them durable, one by one."""
    fd = os.open(f"{folder}/rows.csv", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
    for number in range(3):
        os.write(fd, b"%d,0123456789\n" % number)
        os.fsync(fd)


def everything(folder: str) -> None:
    """Each kind of change: paths from the root and from a directory, through links that mean something here only."""
    os.mkdir(f"{folder}/metadata")
    for number in range(2):
        write(f"{folder}/metadata/CLI1.csv", b"%d,row\n" % number)
    os.symlink(os.path.abspath(f"{folder}/metadata"), f"{folder}/elsewhere")
    write(f"{folder}/elsewhere/CLI2.csv", b"through a link")
    directory = os.open(f"{folder}/metadata", os.O_RDONLY)
    os.fsync(directory)
    os.mkdir("inner", 0o750, dir_fd=directory)
    os.rename("CLI2.csv", "inner/CLI3.csv", src_dir_fd=directory, dst_dir_fd=directory)
    write(f"{folder}/state.tmp", b"state")
    os.replace(f"{folder}/state.tmp", f"{folder}/state")
    os.link(f"{folder}/state", f"{folder}/second")
    os.truncate(f"{folder}/state", 3)
    os.unlink(f"{folder}/second")
    os.mkdir(f"{folder}/gone")
    os.rmdir(f"{folder}/gone")
    write(f"{folder}/state", b"new", os.O_TRUNC)
    # Of a user who was another one at the start, it is somebody else's.
    with contextlib.suppress(PermissionError):
        write("/dev/stdout", b"")
    write("/dev/null", b"not watched")


def errors(folder: str) -> None:
    """Say what three writes came to."""
    fd = os.open(f"{folder}/f", os.O_CREAT | os.O_WRONLY)
    for _ in range(3):
        try:
            print(os.write(fd, b"0123456789"), flush=True)
        except OSError as error:
            print(os.strerror(error.errno or 0), flush=True)


def cache(folder: str) -> None:
    """One file that was made durable, one that was not."""
    for name in ("safe", "lost"):
        fd = os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY, 0o640)
        os.write(fd, name.encode())
        if name == "safe":
            os.fsync(fd)
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.mkdir(f"{folder}/late")


def publish(folder: str) -> None:
    """Three sends."""
    with socket.create_connection((os.environ["BROKER"], 5672)) as broker:
        for text in (b"one,", b"two,", b"three"):
            broker.sendall(text)


def endless(folder: str) -> None:
    """Write until an error comes."""
    fd = os.open(f"{folder}/f", os.O_CREAT | os.O_WRONLY)
    while True:
        try:
            os.pwrite(fd, b"0", 0)
        except OSError as error:
            os._exit(error.errno or 1)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        os.umask(int(sys.argv[3], 8))
    globals()[sys.argv[1]](sys.argv[2])
