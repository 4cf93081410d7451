"""Puts a planted worker into a scenario of its own: the bundled scenario's programs, with worker-2 replaced.

The planted program stands beside copies of the others, so that it can import the worker that it changes. Nothing of
the bundled scenario is changed.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml
from catalogue import HERE, Bug

from chaoskit import bundled
from chaoskit.model import scenario as scenarios
from chaoskit.model.scenario import Scenario

# A program that loops for ever ends its run here; what is correct takes a hundredth of it.
_TIMEOUT_S = 10


@dataclass(frozen=True)
class Staged:
    """A scenario on disk, with the parameters that it has for exploring."""

    bug: Bug
    scenario: Scenario


def stage(bug: Bug, folder: Path) -> Staged:
    """Make the scenario of `bug` in `folder`, which is made too."""
    original = bundled.scenarios_dir() / bug.pipeline
    folder.mkdir(parents=True)
    for path in (*original.glob("*.py"), bug.path):
        shutil.copy(path, folder)
    declared = yaml.safe_load((original / bundled.FILE_NAME).read_text())
    declared |= {"name": bug.path.stem, "timeout_s": _TIMEOUT_S}
    del declared["compose"]
    declared["programs"]["worker-2"]["command"] = ["python", bug.path.name]
    if bug.inputs:
        shutil.copy(HERE / bug.inputs, folder)
        declared["programs"]["test-runner"]["command"] = ["python", bug.inputs]
    file = folder / bundled.FILE_NAME
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    found = scenarios.load(file)
    return Staged(bug, found.with_parameters(found.explore))
