"""What the pages say is what the code has: tables, commands, links, scenarios, faults."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
import yaml

from chaoskit import bundled
from chaoskit.cli import main as cli
from chaoskit.faults import TABLE, check_plan
from chaoskit.model import plan as plans
from chaoskit.model import scenario as scenarios
from chaoskit.model import sources
from chaoskit.model.run import Report
from chaoskit.model.triggers import OPERATIONS, AtCall, AtIntervals, AtLog, AtMessage

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
CRASH_MODEL = (ROOT / "docs" / "crash-model.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCENARIOS = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.M | re.S)
    if re.search(r"^name:", block, re.M) and re.search(r"^programs:", block, re.M)
]
REFRESH = [sys.executable, str(ROOT / "docs" / "tables.py")]


def test_the_tables_of_the_pages_are_those_of_the_code() -> None:
    done = subprocess.run([*REFRESH, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_and_reference_have_their_tables() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    assert re.findall(r"<!-- table: ([a-z-]+) -->", README) == ["commands", "exit-codes"]
    assert {"faults", "triggers", "scenarios"} <= set(re.findall(r"<!-- table: ([a-z-]+) -->", reference))


def test_every_fault_is_in_the_crash_model() -> None:
    faults = CRASH_MODEL.split("## Faults")[1].split("## Power loss")[0]
    first_cells = " ".join(line.split("|")[1] for line in faults.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([a-z-]+)`", first_cells)) == set(TABLE)


def test_every_operation_is_in_the_crash_model() -> None:
    points = CRASH_MODEL.split("## Crash points")[1].split("## Faults")[0]
    assert set(OPERATIONS) <= set(re.findall(r"`([a-z]+)`", points))


def test_every_package_is_in_whats_here() -> None:
    text = (ROOT / "docs" / "whats-here.md").read_text()
    packages = [path.parent for path in sorted((ROOT / "chaoskit").glob("*/__init__.py"))]
    assert [package.name for package in packages if f"**chaoskit/{package.name}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_within_the_text_exist(page: Path) -> None:
    cli._register()
    known = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    options = {name: {o for p in c.params for o in (*p.opts, *p.secondary_opts)} for name, c in known.items()}
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    unknown = [
        quoted
        for quoted in re.findall(r"`(chaoskit [a-z][^`]*)`", text)
        for name, *words in [quoted.split()[1:]]
        if name not in options
        or not {w.split("=")[0] for w in words if w.startswith("--")} <= options[name] | {"--help"}
    ]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    new = {ROOT / "README.md"}
    while new:
        reached |= new
        found = {
            (page.parent / link).resolve()
            for page in new
            for link in re.findall(r"\]\(([^)#:]+\.md)\)", page.read_text())
        }
        new = found - reached
    decisions = ROOT / "docs" / "decisions"
    assert [page for page in PAGES[2:] if page not in reached and page.parent != decisions] == []


@pytest.mark.parametrize(("page", "block"), SCENARIOS, ids=[page for page, _ in SCENARIOS])
def test_a_scenario_in_a_page_is_one_that_chaoskit_takes(page: str, block: str, tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(block)
    # A Compose file has to be there, its contents are read when a run begins.
    declared = yaml.safe_load(block).get("compose") or []
    files = declared.get("files", ["docker-compose.yaml"]) if isinstance(declared, dict) else [declared]
    for file in (file for file in files if file):
        (tmp_path / file).write_text("services: {}\n")
    scenarios.load(tmp_path / "scenario.yaml")


def test_there_are_scenarios_in_the_pages() -> None:
    assert {"README.md", "your-own-pipeline.md", "adding-a-scenario.md", "compose.md"} <= {
        page for page, _ in SCENARIOS
    }


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    first = re.findall(r"^```\w*\n(.*?)^```$", README, re.M | re.S)[0]
    wanted = re.findall(r"^make ([a-z-]+)", first, re.M)
    assert wanted == ["chaos", "test"]
    assert set(wanted) <= targets


def test_every_help_page_has_an_example() -> None:
    cli._register()
    without = [
        c.name for c in cli.app.registered_commands if c.callback and "chaoskit" not in (c.callback.__doc__ or "")
    ]
    assert without == []


def test_the_plan_of_the_reference_is_one_and_has_what_it_is_to_show() -> None:
    (text,) = re.findall(r"^```yaml\n(seed: .*?)^```$", REFERENCE, re.M | re.S)
    source = sources.parse(text, "plan.yaml")
    plan = plans.parse(source, frozenset(TABLE))
    check_plan(plan, bundled.find("stateful-durable"), TABLE, source)
    assert {"restart", "state", "for_s", "copies", "late"} <= {name for step in plan.steps for name in step.options}
    assert all(kind in map(type, (step.at for step in plan.steps)) for kind in (AtCall, AtLog, AtMessage, AtIntervals))


def test_every_field_of_report_json_is_in_the_reference() -> None:
    rows = REFERENCE.split("## report.json")[1]
    first_cells = " ".join(line.split("|")[1] for line in rows.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([a-z_]+)`", first_cells)) == set(Report.__struct_fields__)
