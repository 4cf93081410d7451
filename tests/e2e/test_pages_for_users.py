"""What docs/pytest.md and docs/init.md show works as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.model import scenario as scenarios
from chaoskit.pytest_plugin.options import ExploreOptions, RunOptions

pytest_plugins = ["pytester"]
DOCS = Path(__file__).parents[2] / "docs"
PYTEST_PAGE = (DOCS / "pytest.md").read_text()
INIT_PAGE = (DOCS / "init.md").read_text()
WITHIN_S = 100.0
# It writes orders down one after the other; started again it drops a torn one and goes on.
WORKER = """
import os
folder = os.environ["WORKER_DATA_DIR"]
fd = os.open(folder + "/orders.csv", os.O_RDWR | os.O_CREAT | os.O_APPEND)
directory = os.open(folder, os.O_RDONLY)
os.fsync(directory)
whole = os.read(fd, 100_000).rpartition(b"\\n")[0].count(b"order")
os.ftruncate(fd, 13 * whole)
for number in range(whole, int(os.environ["ORDERS"])):
    os.write(fd, b"order-%06d\\n" % number)
    os.fsync(fd)
print("SUCCESS [orders]" if os.fstat(fd).st_size == 13 * int(os.environ["ORDERS"]) else "FAILURE [orders]")
"""
SCENARIO = """
name: orders
broker: false
parameters: {ORDERS: 6}
target: worker
verifier: {program: worker, expect: [orders]}
programs: {worker: {command: [python, worker.py]}}
"""
COMPOSE = """
services:
  rabbitmq: {image: rabbitmq}
  worker: {build: ., environment: {HOST: rabbitmq}, volumes: [data:/data]}
  checker: {build: ., environment: {HOST: rabbitmq}, profiles: [test, always]}
volumes: {data: {}}
"""


@pytest.mark.timeout(240)
def test_the_tests_of_the_page_are_green(pytester: pytest.Pytester) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PYTEST_PAGE, re.M | re.S)
    pytester.makepyfile(code)
    folder = pytester.mkdir("chaos")
    (folder / "scenario.yaml").write_text(SCENARIO)
    (folder / "worker.py").write_text(WORKER)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=WITHIN_S)
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize(("call", "options"), [("chaos.run", RunOptions), ("chaos.explore", ExploreOptions)])
def test_the_page_lists_the_options_that_there_are(call: str, options: type) -> None:
    (row,) = (line for line in PYTEST_PAGE.splitlines() if line.startswith(f"| `{call}("))
    assert re.findall(r"`(\w+)`", row.split("|")[2]) == list(options.__annotations__)


def commands_of_the_page() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", INIT_PAGE, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("command", commands_of_the_page())
def test_every_command_about_init_writes_a_scenario(tmp_path: Path, command: str) -> None:
    (tmp_path / "docker-compose.yaml").write_text(COMPOSE.replace("profiles: [test, always]", "restart: 'no'"))
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "compose.override.yaml").write_text("services: {worker: {restart: always}}")
    words = shlex.split(command)
    assert words[:2] == ["chaoskit", "init"]
    arguments = [sys.executable, "-m", "chaoskit", *words[1:]]
    done = subprocess.run(arguments, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file = tmp_path / ("chaos/scenario.yaml" if "-o" in words else "scenario.yaml")
    if "to fill in: verifier.expect" in done.stdout:
        file.write_text(re.sub(r"^  expect:.*$", "  expect: 3", file.read_text(), flags=re.M))
    assert scenarios.load(file).target[0] in ("worker", "writer")
