"""The CI jobs of docs/ci.md and of this repository: YAML of the right shape, whose commands work in a clean folder."""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaoskit import bundled
from chaoskit.model.run import from_json

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WITHIN_S = 100.0
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "ci.md").read_text(), re.M | re.S)
# Quick to explore in depth: it writes a word to a file under another name first, and renames that when it is whole.
PROGRAM = """
import os
folder = os.environ["WORKER_DATA_DIR"]
fd = os.open(folder + "/new", os.O_WRONLY | os.O_CREAT)
os.write(fd, b"whole")
os.fsync(fd)
os.rename(folder + "/new", folder + "/note")
print("SUCCESS [note]" if open(folder + "/note", "rb").read() == b"whole" else "FAILURE [note]")
"""
SCENARIO = """
name: note
broker: false
target: writer
verifier: {program: writer, expect: [note]}
programs: {writer: {command: [python, writer.py]}}
"""


def github() -> dict[str, Any]:
    (text,) = (block for block in BLOCKS if "runs-on:" in block)
    return dict(yaml.safe_load(text))


def gitlab() -> dict[str, Any]:
    (text,) = (block for block in BLOCKS if "artifacts:" in block)
    return dict(yaml.safe_load(text))


def commands(job: dict[str, Any]) -> list[str]:
    """The shell commands of a job, of either server."""
    steps = [step["run"] for step in job.get("steps", ()) if "run" in step]
    return [command.strip() for command in (*steps, *job.get("before_script", ()), *job.get("script", ()))]


def test_the_workflow_has_a_chaos_job_and_a_scheduled_exploration() -> None:
    workflow = github()
    # YAML 1.1 takes the key `on` for true.
    triggers = workflow[True]  # type: ignore[index]
    assert {"push", "pull_request", "schedule"} <= set(triggers)
    assert set(workflow["jobs"]) == {"chaos", "explore"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] > 0
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        assert any(step.get("if") == "always()" for step in job["steps"]), "also the report of a red run is kept"
    assert "schedule" in workflow["jobs"]["explore"]["if"]


def test_the_gitlab_file_has_them_too() -> None:
    pipeline = gitlab()
    assert set(pipeline) == {"default", "chaos", "explore"}
    for name in ("chaos", "explore"):
        job = pipeline[name]
        assert job["artifacts"]["when"] == "always"
        assert any(job["artifacts"]["reports"]["junit"] in command for command in commands(job))
        assert len(job["rules"]) == 1


@pytest.mark.parametrize("name", ["chaos", "explore"])
def test_both_servers_run_the_same_commands(name: str) -> None:
    there = [command.replace('--summary "$GITHUB_STEP_SUMMARY" ', "") for command in commands(github()["jobs"][name])]
    here = gitlab()
    assert commands({**here["default"], **here[name]}) == there


@pytest.mark.parametrize("name", ["chaos", "explore"])
def test_the_commands_of_a_job_work_in_a_clean_folder(tmp_path: Path, name: str) -> None:
    job = github()["jobs"][name]
    make_project(tmp_path / "chaos", name)
    summary = tmp_path / "summary.md"
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary)}
    for command in commands(job):
        if command.startswith("pip install"):
            assert command == "pip install chaoskit -r requirements.txt"
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    report = tmp_path / f"{name}-report"
    assert ET.parse(report / "junit.xml").getroot().tag == "testsuites"
    assert from_json((report / "report.json").read_bytes()).result == "pass"
    assert "chaoskit" in summary.read_text()


def make_project(folder: Path, name: str) -> None:
    """A user's folder: a copy of a bundled pipeline, or where every point is visited twice something small."""
    if name == "chaos":
        shutil.copytree(bundled.scenarios_dir() / "stateful", folder)
        return
    folder.mkdir()
    (folder / "writer.py").write_text(PROGRAM)
    (folder / "scenario.yaml").write_text(SCENARIO)


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_the_workflows_of_this_repository_call_targets_that_there_are(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    jobs = yaml.safe_load(path.read_text())["jobs"]
    called = [word for job in jobs.values() for c in commands(job) for word in re.findall(r"\bmake ([a-z-]+)", c)]
    assert called
    assert set(called) <= targets
    assert all(job["timeout-minutes"] > 0 for job in jobs.values())
