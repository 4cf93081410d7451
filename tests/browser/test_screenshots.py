"""Pictures of real reports: they are what they should be, and those of the docs are made here.

    CHAOSKIT_SCREENSHOTS=docs/images pytest tests/browser/test_screenshots.py

writes them there; look at them before they are committed.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return Path(os.environ.get("CHAOSKIT_SCREENSHOTS", tmp_path)).resolve()


def brightness(png: bytes) -> float:
    """The mean of the raw bytes of rows that are stored unfiltered or nearly so: enough to tell light from dark."""
    width, height = struct.unpack(">II", png[16:24])
    assert width * height > 0
    data = bytearray()
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    raw = zlib.decompress(bytes(data))
    # The first pixel of the first row is stored as it is by every filter but those that look up, and there is no row.
    return sum(raw[1:4]) / 3


CASES = {
    "report-light.png": ("failed_run", False, 1280),
    "report-dark.png": ("failed_run", True, 1280),
    "report-narrow.png": ("failed_run", False, 360),
    "crash-points-light.png": ("exploration", False, 1280),
}


@pytest.mark.parametrize("name", CASES)
def test_a_report_has_its_picture(opened: Open, request: pytest.FixtureRequest, pictures: Path, name: str) -> None:
    report, dark, width = CASES[name]
    tab = opened(request.getfixturevalue(report), dark=dark, width=width)
    pictures.mkdir(parents=True, exist_ok=True)
    height = 1500 if width > 400 and "crash" not in name else 900
    tab.page.set_viewport_size({"width": width, "height": height})
    png = tab.page.screenshot(path=pictures / name)
    assert struct.unpack(">II", png[16:24]) == (width, height)
    assert (brightness(png) < 128) == dark
