"""Writes the tables of a run into docs/performance.md: `python -m tests.benchmarks.page [out/bench]`.

The page has a place for the tables of the run and one for its sizing, each between two comments.
"""

import re
import sys
from pathlib import Path

from tests.benchmarks.running import ROOT

PAGE = ROOT / "docs" / "performance.md"
#: Name of a place: the file that is written there.
PLACES = {"run": "table.md", "sizing": "sizing.md"}


def filled(page: str, name: str, content: str) -> str:
    """Returns the page with other content at a place. Raises `ValueError` when it has no such place."""
    found, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)",
        lambda match: f"{match[1]}{content.strip()}\n{match[2]}",
        page,
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{PAGE} has {count} places named {name}.")
    return found


def main() -> None:
    """Fills all places."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "out" / "bench"
    page = PAGE.read_text(encoding="utf-8")
    for name, file in PLACES.items():
        # Headings are one level deeper in the page.
        content = re.sub("^# .*\n", "", (folder / file).read_text(encoding="utf-8"))
        page = filled(page, name, re.sub("^## ", "### ", content, flags=re.MULTILINE))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
