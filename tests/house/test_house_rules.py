"""The rules of the house, read from the sources: sizes, imports, printing, sleeping, randomness."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "chaoskit"
LONGEST_FUNCTION = 70
LONGEST_MODULE = 400
_PRINTS = ("cli", "report")
_SLEEPERS = {("time", "sleep"), ("asyncio", "sleep"), ("trio", "sleep")}
_RANDOM_CLASSES = {"Random", "SystemRandom"}


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts and "_bundled" not in path.parts]


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def calls(path: Path) -> Iterator[tuple[ast.Call, str, str]]:
    """Each call with the name before the dot ('' for a plain name) and the name called."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, "", node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield node, owner.id if isinstance(owner, ast.Name) else "?", node.func.attr


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def gives_way(call: ast.Call) -> bool:
    """`asyncio.sleep(0)` lets other tasks run and waits for no time."""
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def test_the_sources_are_found() -> None:
    assert len(sources("chaoskit")) > 50
    assert sources("scenarios")


def test_no_function_is_longer_than_seventy_lines() -> None:
    functions = [
        (lines_of(node), place(path, node))
        for path in sources("chaoskit", "scenarios")
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [where for length, where in functions if length > LONGEST_FUNCTION] == []
    median = sorted(length for length, _ in functions)[len(functions) // 2]
    assert median < 10


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources("chaoskit", "scenarios")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources("chaoskit", "scenarios")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_there_is_no_module_for_odds_and_ends() -> None:
    odd = {"utils", "util", "helpers", "common", "misc", "tools"}
    assert [str(path) for path in sources("chaoskit", "scenarios") if path.stem in odd] == []


def test_only_the_command_line_and_the_reports_print() -> None:
    printing = [
        place(path, node)
        for path in sources("chaoskit")
        if path.relative_to(PACKAGE).parts[0] not in _PRINTS
        for node, owner, name in calls(path)
        if (owner, name) == ("", "print")
    ]
    assert printing == []


def test_no_test_sleeps() -> None:
    sleeping = [
        place(path, node)
        for path in sources("tests")
        if "planted" not in path.parts
        for node, owner, name in calls(path)
        if (owner, name) in _SLEEPERS and not gives_way(node)
    ]
    assert sleeping == []


def test_randomness_is_an_object_that_is_passed_down() -> None:
    shared = [
        place(path, node)
        for path in sources("chaoskit", "scenarios", "tests")
        for node, owner, name in calls(path)
        if owner == "random" and name not in _RANDOM_CLASSES
    ]
    imported = [
        place(path, node)
        for path in sources("chaoskit", "scenarios", "tests")
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module == "random"
        if not {alias.name for alias in node.names} <= _RANDOM_CLASSES
    ]
    assert shared + imported == []


def test_nothing_is_left_to_do() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")
    left = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources("chaoskit", "scenarios", "tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if any(f"# {mark}" in line for mark in marks)
    ]
    assert left == []


@pytest.mark.timeout(120)
def test_imports_point_down_only(tmp_path: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed here")
    done = subprocess.run(
        [str(linter), "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_tap_and_the_durable_libraries_import_the_standard_library_only() -> None:
    allowed = set(sys.stdlib_module_names)
    foreign = []
    for part in ("tap", "durable"):
        for path in sources(f"chaoskit/{part}"):
            for node in nodes(path):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                foreign += [
                    f"{place(path, node)}: {name}"
                    for name in names
                    if name.split(".")[0] not in allowed and not f"{name}.".startswith(f"chaoskit.{part}.")
                ]
    assert foreign == []


def test_programs_of_a_scenario_hold_no_tester_code() -> None:
    foreign = [
        f"{place(path, node)}: {node.module}"
        for path in sources("scenarios")
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom)
        if (node.module or "").startswith("chaoskit") and not (node.module or "").startswith("chaoskit.durable")
    ]
    assert foreign == []


def test_make_help_names_every_target() -> None:
    makefile = ROOT / "Makefile"
    if not makefile.is_file():
        pytest.skip("there is no Makefile")
    phony = {
        name
        for line in makefile.read_text().replace("\\\n", " ").splitlines()
        if line.startswith(".PHONY:")
        for name in line.removeprefix(".PHONY:").split()
    }
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"chaos", "test"} <= phony
    assert [name for name in phony - {"help"} if name not in done.stdout] == []
