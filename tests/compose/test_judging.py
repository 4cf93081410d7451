"""A command that judges a Compose project: it runs here, with the containers' data fetched, in the end."""

from pathlib import Path

import pytest

from .commands import Chaoskit

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("engine")]

PROJECT = """\
services:
  writer:
    image: debian:trixie-slim
    command:
      - sh
      - -c
      - >-
        while [ "$$(cat /data/*.txt | wc -l)" -lt 3 ]; do echo line >> "$$OUT"; echo wrote; done
    volumes: ["data:/data"]
volumes: {data: {}}
"""
SCENARIO = """\
name: lines
programs:
  writer: {data_dir: /data, environment: {OUT: "{data}/out.txt"}}
target: writer
verifier: {command: [sh, check.sh, "{data}/out.txt", "{logs}/writer.log"]}
compose: compose.yaml
broker: false
"""
CHECK = 'echo "$(grep -cx line "$1") lines, told: $(grep -c wrote "$2")"; test "$(cat "$1")" = "line\nline\nline"\n'


@pytest.fixture
def lines(chaoskit: Chaoskit) -> Path:
    folder = chaoskit.directory / "lines"
    folder.mkdir()
    (folder / "compose.yaml").write_text(PROJECT)
    (folder / "scenario.yaml").write_text(SCENARIO)
    (folder / "check.sh").write_text(CHECK)
    return folder


def test_a_command_judges_the_files_of_containers(chaoskit: Chaoskit, lines: Path) -> None:
    done = chaoskit.green("run", str(lines), "--kills", "1", "--seed", "2", "--runtime", "compose")
    assert done.report["verdicts"][0]["detail"].startswith("3 lines, told: ")
    assert done.report["faults"][0]["fired"]


def test_it_finds_a_torn_line_there(chaoskit: Chaoskit, lines: Path) -> None:
    arguments = ("--faults", "kill", "--only", "inside*#2*", "--runtime", "compose", "--json")
    done = chaoskit("explore", str(lines), *arguments)
    assert done.code == 1, done.text
    details = [failure["verdicts"][0]["detail"] for failure in done.report["failures"]]
    assert details and all("lines, told: " in detail and "3 lines" not in detail for detail in details)
