"""The bundled scenario with a planted worker in its place, for both runtimes from one folder."""

import shutil
from pathlib import Path

import yaml

from chaoskit import bundled

BUGS = Path(__file__).parents[2] / "benchmarks" / "bugs"
COMPOSE = Path(__file__).parents[2] / "compose"
_PIPELINES = {"stateful": "stateful", "partition": "partition-writes"}


def planted(bug: str, folder: Path) -> Path:
    """Make a scenario in `folder` of one of the programs of benchmarks/bugs (`stateful/s07_....py`); its file."""
    program = BUGS / bug
    pipeline = _PIPELINES[program.parent.name]
    original = bundled.scenarios_dir() / pipeline
    inside = folder / "planted"
    inside.mkdir(parents=True)
    for path in (*original.glob("*.py"), program):
        shutil.copy(path, inside)
    build = {"context": str(folder), "dockerfile": str(COMPOSE / "Dockerfile"), "args": {"SCENARIO": inside.name}}
    worker = {"command": ["python", program.name], "build": build}
    override = folder / "override.yaml"
    override.write_text(yaml.safe_dump({"services": {"worker-2": worker}}))
    declared = yaml.safe_load((original / bundled.FILE_NAME).read_text())
    declared |= {"name": program.stem.replace("_", "-"), "timeout_s": 20}
    declared["compose"] = {"files": [str(COMPOSE / f"{pipeline}.yaml"), str(override)]}
    declared["programs"]["worker-2"]["command"] = ["python", program.name]
    file = inside / bundled.FILE_NAME
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    return file
