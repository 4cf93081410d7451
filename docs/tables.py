"""Writes the tables of the pages from the code's own tables, between markers, and says which are not fresh.

    python docs/tables.py            # writes them
    python docs/tables.py --check    # exit code 1 when one is not fresh

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`. Everything else of a page is written by hand.
"""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from chaoskit import bundled
from chaoskit.cli import main as cli
from chaoskit.faults import TABLE
from chaoskit.model.exit_codes import MEANINGS
from chaoskit.model.triggers import KINDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_TABLE = re.compile(r"(?<=<!-- table: )([a-z-]+)( -->\n)(.*?)(?=<!-- end of table -->)", re.S)


def _rows(*rows: Iterable[object]) -> str:
    head, *rest = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rest))


def _first_sentence(doc: str) -> str:
    paragraph = " ".join(doc.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[a-z`)])\. ", paragraph)[0].rstrip(".")


def commands() -> str:
    """Every command, with the first sentence of its help."""
    cli._register()
    found = [(command.name, command.callback) for command in cli.app.registered_commands if command.callback]
    docs = {name or function.__name__: function.__doc__ or "" for name, function in found}
    return _rows(("command", "what it does"), *((f"`chaoskit {name}`", _first_sentence(docs[name])) for name in docs))


def exit_codes() -> str:
    """The exit codes and what they mean."""
    return _rows(("code", "meaning"), *((int(code), meaning) for code, meaning in MEANINGS.items()))


def faults() -> str:
    """Every fault: what a plan calls it, its triggers and options."""
    rows = []
    for name, fault in TABLE.items():
        triggers = ", ".join(dict.fromkeys("system call" if "write" in k.KEYS else k.KEYS[0] for k in fault.triggers))
        options = "; ".join(f"`{o}` ({option.default}): {option.summary}" for o, option in fault.options.items())
        rows.append((f"`{name}`", fault.target, fault.summary, triggers, options))
    return _rows(("fault", "target", "what it does", "triggers", "options (default)"), *rows)


def triggers() -> str:
    """Every trigger: its keys, an example, and whether the same seed means the same place."""
    rows = []
    for kind in KINDS:
        keys = ", ".join(f"`{key}`" for key in kind.KEYS)
        when = kind.summary.replace(" (timed, not exact)", "")
        rows.append((keys, f"`{kind.example}`", when, "exact" if kind.exact else "timed"))
    return _rows(("keys", "example", "when", "place"), *rows)


def scenarios() -> str:
    """Every bundled scenario."""
    found = (bundled.find(name) for name in bundled.names())
    return _rows(("scenario", "what it is"), *((f"`{s.name}`", s.summary) for s in found))


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "exit-codes": exit_codes,
    "faults": faults,
    "triggers": triggers,
    "scenarios": scenarios,
}


def fresh(text: str) -> str:
    """The page with its tables as the code has them; raises KeyError for a table that there is not."""
    return _TABLE.sub(lambda found: f"{found[1]}{found[2]}{TABLES[found[1]]()}", text)


def main() -> int:
    """Write or check every page."""
    stale = [page for page in PAGES if fresh(page.read_text()) != page.read_text()]
    for page in stale:
        if "--check" in sys.argv[1:]:
            sys.stdout.write(f"{page.relative_to(ROOT)}: a table is not fresh; python docs/tables.py\n")
        else:
            page.write_text(fresh(page.read_text()))
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
