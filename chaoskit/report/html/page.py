"""The page around the data: assets in a fixed order, and a policy that names each of them by its digest."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import msgspec

from chaoskit.model.events import AnyEvent
from chaoskit.model.run import Report
from chaoskit.report.html.content import content

_SCRIPTS = (
    "dom.js",
    "story.js",
    "glyphs.js",
    "scale.js",
    "timeline.js",
    "overview.js",
    "cursor.js",
    "moment.js",
    "hexdump.js",
    "crashmap.js",
    "theme.js",
    "main.js",
)
# `<` would end the block of JSON or begin a comment in it; the others are line ends to some older readers of scripts.
_ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def render(report: Report, events: Sequence[AnyEvent], control: Sequence[AnyEvent] = ()) -> str:
    """The page of one run, or of an exploration. `events` are the run's (an exploration's: its control run's).

    `control` are those of the control run; without them the page knows less of what was about to happen.
    """
    data = msgspec.json.encode(content(report, events, control)).decode().translate(_ESCAPED)
    head, tail = _shell()
    return f"{head}{data}{tail}"


@cache
def _shell() -> tuple[str, str]:
    """The page before its data and after it: the same for every report."""
    style = _asset("assets/style.css") + _asset("assets/parts.css")
    library, script = _library(), _script()
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src {_digest(library)} {_digest(script)}; style-src {_digest(style)}; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    page = _asset("assets/page.html")
    for name, text in {"policy": policy, "style": style, "library": library, "script": script}.items():
        page = page.replace(f"<!--{name}-->", text, 1)
    head, tail = page.split("<!--data-->")
    return head, tail


def _library() -> str:
    """What is not ours, with the licences that go with every copy of it."""
    licences = "\n".join(_asset(f"vendor/{name}") for name in ("LICENSE-d3", "LICENSE-d3-ease"))
    return f"/*\n{licences}*/\n{_asset('vendor/d3.min.js')}"


def _script() -> str:
    parts = "\n".join(_asset(f"assets/{name}") for name in _SCRIPTS)
    return f"(() => {{\n{parts}}})();\n"


def _asset(name: str) -> str:
    return files("chaoskit.report.html").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
