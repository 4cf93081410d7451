"""What the browser tests share: a real browser without a network, and reports of real runs that failed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from chaoskit import bundled

_CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_REQUIRE = "CHAOSKIT_REQUIRE_BROWSER"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_ROOT = Path(__file__).parents[2]
_PLANTED = _ROOT / "tests" / "e2e" / "planted"
_COMMAND_LIMIT_S = 100.0
TORN = "{kill: worker-2, at: {write: metadata/CLI1.csv, nth: 2, byte: 16}}"
NO_INTENT = "benchmarks/bugs/partition/p02_no_intent.py"


# A module's own: while it is up its event loop runs in this thread, and tests that run loops of their own come next.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; skips where there is none, with CHAOSKIT_REQUIRE_BROWSER=1 it fails instead."""
    path = next((path for path in _CHROMIUM if Path(path).exists()), None)
    if path is None:
        problem = f"there is no Chromium ({', '.join(_CHROMIUM)})"
        if os.environ.get(_REQUIRE) == "1":
            pytest.fail(f"{_REQUIRE}=1 and {problem}")
        pytest.skip(problem)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield launched
        launched.close()


@dataclass
class Opened:
    """A report in a tab, and everything that it complained about or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def focused(self) -> str:
        """The id of what has the focus, else its tag and text."""
        return str(self.page.evaluate("(e => e.id || `${e.tagName} ${e.textContent}`)(document.activeElement)"))


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Opens a report; at the end of the test it must have complained of nothing and asked for nothing but itself."""
    tabs: list[Opened] = []

    def open_(path: Path, *, dark: bool = False, width: int = 1280, touch: bool = False) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", has_touch=touch
        )
        tab = Opened(context.new_page())
        tab.listen()
        tab.page.goto(path.resolve().as_uri())
        tabs.append(tab)
        return tab

    yield open_
    for tab in tabs:
        tab.page.context.close()
        assert tab.complaints == []
        assert [url for url in tab.requests if not url.startswith("file:") or ".html" not in url] == []


def _chaoskit(directory: Path, *args: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if name != "GITHUB_ACTIONS"}
    return subprocess.Popen(
        [sys.executable, "-m", "chaoskit", *args],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finished(process: "subprocess.Popen[str]", directory: Path, code: int) -> Path:
    try:
        out, _ = process.communicate(timeout=_COMMAND_LIMIT_S)
    finally:
        process.kill()
    assert process.returncode == code, out
    return (directory / ".chaoskit" / "latest").resolve() / "report.html"


@pytest.fixture(scope="session")
def failed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a stateful run with a planted bug: a torn row is taken for a whole one."""
    directory = tmp_path_factory.mktemp("failed")
    (directory / "plan.yaml").write_text(f"steps: [{TORN}]")
    scenario = str(_PLANTED / "no-torn-tail-repair" / "scenario.yaml")
    return _finished(_chaoskit(directory, "run", scenario, "--plan", "plan.yaml", "--seed", "7"), directory, 1)


@pytest.fixture(scope="session")
def exploration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of an exploration of partition-writes without its intent file; some kills are not survived."""
    directory = tmp_path_factory.mktemp("explored")
    folder = directory / "scenario"
    shutil.copytree(bundled.scenarios_dir() / "partition-writes", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_ROOT / NO_INTENT, folder / "planted.py")
    file = folder / bundled.FILE_NAME
    declared = yaml.safe_load(file.read_text()) | {"name": "no-intent", "timeout_s": 15}
    declared.pop("compose", None)
    declared["programs"]["worker-2"]["command"] = ["python", "planted.py"]
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    only = ("--faults", "kill", "--only", "[cw]r[ei][at]*e:*[1n].[ct]*#1")
    return _finished(_chaoskit(directory, "explore", str(file), *only), directory, 1)
