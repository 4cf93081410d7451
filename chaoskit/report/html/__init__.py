"""report.html: one file that works offline and asks nobody for anything. `render` is all that others need.

Python puts everything that came from a run into one block of JSON; the page's own script puts it on the screen, as
text. Nothing of a run becomes markup, and the page's policy lets nothing run or load but what stands in it. Like all
reports it is a pure function; it reads its own assets, which are part of the package.
"""

from chaoskit.report.html.page import render

__all__ = ["render"]
