"""Gives volumes that a run put in the place of something else to the user that a program runs as.

The engine gives an empty volume the owner that its directory has in the image, and root where the image has none. What
was there in the user's project may have had another owner, so a program that is not root could not write there. It
works on created containers through the engine's API; nothing is run for it.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping

import docker
import docker.errors

from chaoskit.runtime.compose.mounts import DATA_ROOT

_PASSWD, _GROUP = "/etc/passwd", "/etc/group"
_ROOT = "0"
# The header of the first member of a tar, with what may stand in front of it.
_FRONT_BYTES = 16 * tarfile.BLOCKSIZE


def give(client: docker.DockerClient, container: str, agent: str, fresh: Mapping[str, str]) -> None:
    """Make the user of a created container the owner of those `fresh` volumes (key: where it has them) that are root's.

    The agent's created container has them all, and its root file system is never read-only. A user that only the
    image's files name is looked up there; where they do not name it, the engine refuses to start the container anyway.
    Raises the errors of the Docker SDK.
    """
    user = str(client.api.inspect_container(container)["Config"].get("User") or _ROOT)
    if not fresh or user.partition(":")[0] in (_ROOT, "root"):
        return
    found = _numbers(client, container, user)
    for key, target in fresh.items():
        root = _root_of(client, container, target)
        if found is not None and root is not None and root.uid == 0:
            root.name = key
            root.uid, root.gid = found
            client.api.put_archive(agent, DATA_ROOT, _tar(root))


def _numbers(client: docker.DockerClient, container: str, user: str) -> tuple[int, int] | None:
    """The user and the group that `user` or `user:group` means in a container."""
    name, _, group = user.partition(":")
    own = _entry(client, container, _PASSWD, name) if not (name.isdecimal() and group.isdecimal()) else None
    uid = name if name.isdecimal() else own[2] if own else ""
    # A group that is not named is the one of the user's line; without a line it is root's.
    named = _entry(client, container, _GROUP, group) if group and not group.isdecimal() else None
    gid = group if group.isdecimal() else named[2] if named else "" if group else own[3] if own else _ROOT
    return (int(uid), int(gid)) if uid.isdecimal() and gid.isdecimal() else None


def _entry(client: docker.DockerClient, container: str, path: str, name: str) -> list[str] | None:
    """The fields of a line of /etc/passwd or /etc/group, by its name or number; None when there is none."""
    try:
        content = _read(client, container, path)
    except docker.errors.NotFound:
        return None
    lines = [line.split(":") for line in content.decode("utf-8", "replace").splitlines()]
    return next((fields for fields in lines if len(fields) > 3 and name in (fields[0], fields[2])), None)


def _read(client: docker.DockerClient, container: str, path: str) -> bytes:
    stream, _ = client.api.get_archive(container, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        return file.read() if file is not None else b""


def _root_of(client: docker.DockerClient, container: str, path: str) -> tarfile.TarInfo | None:
    """What a directory of a container is: owner and mode. Only its own header is read, not what is in it."""
    stream, _ = client.api.get_archive(container, path)
    with tarfile.open(fileobj=io.BytesIO(_front(stream))) as tar:
        member = tar.next()
        return member if member is not None and member.isdir() else None


def _front(chunks: Iterable[bytes]) -> bytes:
    front = b""
    for chunk in chunks:
        front += chunk
        if len(front) >= _FRONT_BYTES:
            break
    return front


def _tar(member: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(member)
    return buffer.getvalue()
