"""chaoskit inside pytest: the marker and the fixture `chaos`, so that a test suite runs scenarios under faults.

This module is loaded with every pytest where chaoskit is installed, so it imports nothing that a suite without such
tests would have to wait for. docs/pytest.md says how to use it.
"""

import re
import secrets
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit import __version__

if TYPE_CHECKING:
    from chaoskit.pytest_plugin.harness import Chaos, ChaosError

__all__ = ["Chaos", "ChaosError", "chaos"]
_MARKER = (
    "chaos(scenario, **options): run a scenario under faults with the fixture `chaos`; options as those of chaos.run "
    "and chaos.explore, such as kills=3, duplicates=1, seed=42, plan='plan.yaml', parameters={...}"
)
_SEED: "pytest.StashKey[int]" = pytest.StashKey()
_CHAOS: "pytest.StashKey[Chaos]" = pytest.StashKey()
_LARGEST_SEED = 2**53


def __getattr__(name: str) -> Any:
    if name in ("Chaos", "ChaosError"):
        from chaoskit.pytest_plugin import harness

        return getattr(harness, name)
    raise AttributeError(name)


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(text)
    return seed


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaoskit")
    group.addoption(
        "--chaos-seed", type=_seed, metavar="N", help="Draw the same faults again (default: others each time)."
    )
    group.addoption("--chaos-report-dir", metavar="DIR", help="Copy report, plan, journal and logs of red runs to DIR.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    given = config.getoption("--chaos-seed")
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    config.stash[_SEED] = worker.get("chaos_seed", secrets.randbelow(2**32) if given is None else given)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    # A hook of pytest-xdist: the processes of one session draw from one seed.
    node.workerinput["chaos_seed"] = node.config.stash[_SEED]


def pytest_report_header(config: pytest.Config) -> str:
    return f"chaoskit: {__version__}, --chaos-seed={config.stash[_SEED]}"


@pytest.fixture
def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[Chaos]":
    """Runs scenarios under faults: `chaos.run(...)` and `chaos.explore(...)` fail the test unless all is green."""
    from chaoskit.pytest_plugin.harness import Chaos

    marker = request.node.get_closest_marker("chaos")
    config = request.config
    folders = (request.path.parent, config.invocation_params.dir, config.rootpath)
    made = Chaos(folders, tmp_path / "chaos", config.stash[_SEED], request.node.nodeid)
    if marker is not None:
        made.marked = marker.kwargs
        made.scenario = marker.args[0] if marker.args else None
    request.node.stash[_CHAOS] = made
    yield made
    _keep_red_runs(made, config)


def _keep_red_runs(made: "Chaos", config: pytest.Config) -> None:
    target = config.getoption("--chaos-report-dir")
    name = re.sub(r"[^\w.-]+", "-", made.name)[-100:].strip("-.")
    for number, report in enumerate(made.reports, 1):
        if target and report.exit_code:
            place = config.invocation_params.dir / target / f"{name}-{number}"
            shutil.copytree(report.run_dir, place, ignore=shutil.ignore_patterns("data"), dirs_exist_ok=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("chaos") and "chaos" not in getattr(item, "fixturenames", ()):
        raise pytest.UsageError(f"{item.nodeid} has the marker chaos and does not take the fixture `chaos`")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    made = item.stash.get(_CHAOS, None)
    if made is None or call.when != "call":
        return report
    from chaoskit.pytest_plugin.harness import ChaosError
    from chaoskit.pytest_plugin.words import section, title

    if report.failed:
        report.sections += [(title(n, run), section(run)) for n, run in enumerate(made.reports, 1)]
    if call.excinfo is not None and call.excinfo.errisinstance(ChaosError):
        # Nothing was judged, so it is no failure of what is tested: counted as an error, as one of a fixture is.
        report.when = "setup"
    if report.passed and item.get_closest_marker("chaos") and not made.reports:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} has the marker chaos and ran nothing: call chaos.run() or chaos.explore()"
    return report
