"""What is sent into the agent's container is all that the agent needs there."""

import io
import tarfile
from collections.abc import Iterator

import docker
import pytest

from chaoskit.runtime.compose import agent_files
from chaoskit.runtime.compose.engine import connect

IMAGE = "python:3.13-slim"
# `-S -I` leaves the standard library and what is in the archive, so an import of anything else fails.
_IMPORT_ALL = (
    f"import sys; sys.path.insert(0, '{agent_files.FOLDER}')\n"
    "import importlib, pkgutil, chaoskit\n"
    "found = [module.name for module in pkgutil.walk_packages(chaoskit.__path__, 'chaoskit.')]\n"
    "names = [name for name in found if not name.endswith('__main__')]\n"
    "for name in names: importlib.import_module(name)\n"
    "print(len(names), sys.modules['pamqp'].__file__)\n"
)


def test_the_archive_is_the_same_for_the_same_files_and_holds_no_other() -> None:
    archive = agent_files.archive()
    assert archive == agent_files.archive()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
    names = {member.name.removeprefix(f"{agent_files.FOLDER[1:]}/") for member in members}
    assert {"chaoskit/__init__.py", "chaoskit/tap/launcher.py", "chaoskit/proxy/server.py", "pamqp/frame.py"} <= names
    assert {"/".join(name.split("/")[:2]) for name in names if name.startswith("chaoskit/")} == {
        "chaoskit/__init__.py",
        "chaoskit/tap",
        "chaoskit/proxy",
        "chaoskit/agent",
    }
    assert not any("__pycache__" in name or ".." in name or name.startswith("/") for name in names)
    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
    assert all(member.isfile() and member.mode & 0o022 == 0 for member in members)


@pytest.fixture
def client(engine: None) -> Iterator[docker.DockerClient]:
    made = connect()
    yield made
    made.close()


@pytest.mark.timeout(120)
def test_everything_in_it_can_be_imported_in_the_plain_python_image(client: docker.DockerClient) -> None:
    container = client.containers.create(IMAGE, ["python", "-S", "-I", "-c", _IMPORT_ALL], network_mode="none")
    try:
        container.put_archive("/", agent_files.archive())
        container.start()
        code = container.wait(timeout=60)["StatusCode"]
        said = container.logs().decode()
        assert code == 0, said
        assert int(said.split()[0]) > 20
        assert said.split()[1].startswith(agent_files.FOLDER)
    finally:
        container.remove(force=True)
