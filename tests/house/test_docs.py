"""What the pages say is what the code has: commands, exit codes, faults, triggers, links."""

import re
from pathlib import Path

import pytest

from chaoskit.cli import main as cli
from chaoskit.faults import TABLE
from chaoskit.model.exit_codes import MEANINGS
from chaoskit.model.triggers import OPERATIONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CRASH_MODEL = (ROOT / "docs" / "crash-model.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> set[str]:
    cli._register()
    return {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}


def test_every_command_of_the_readme_exists_and_every_command_is_in_it() -> None:
    table = README.split("## The commands")[1].split("## Exit codes")[0]
    rows = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    words = {
        word for quoted in re.findall(r"`([^`]+)`", rows) for word in [quoted.removeprefix("chaoskit ").split()[0]]
    }
    assert words == commands()


def test_the_exit_codes_of_the_readme_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README.split("## Exit codes")[1], re.M))
    assert rows == {str(int(code)): meaning for code, meaning in MEANINGS.items()}


def test_every_fault_is_in_the_crash_model() -> None:
    faults = CRASH_MODEL.split("## Faults")[1].split("## Power loss")[0]
    first_cells = " ".join(line.split("|")[1] for line in faults.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([a-z-]+)`", first_cells)) == set(TABLE)


def test_every_operation_is_in_the_crash_model() -> None:
    points = CRASH_MODEL.split("## Crash points")[1].split("## Faults")[0]
    assert set(OPERATIONS) <= set(re.findall(r"`([a-z]+)`", points))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    wanted = re.findall(r"^make ([a-z-]+)", README, re.M)
    assert wanted == ["chaos", "test"]
    assert set(wanted) <= targets


def test_every_help_page_has_an_example() -> None:
    cli._register()
    without = [
        c.name for c in cli.app.registered_commands if c.callback and "chaoskit" not in (c.callback.__doc__ or "")
    ]
    assert without == []
