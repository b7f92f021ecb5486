"""Licences of the packages that are shipped, by their metadata; `python -m tests.support.pages.licences` lists them."""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "licences.md"
#: `calotype up`, and the image of deploy/.
SHIPPED = ("run.txt", "services.txt")
#: What metadata without an expression says, in the names of SPDX.
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-or-later",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
BEGIN, END = "<!-- licences: python -m tests.support.pages.licences writes it -->", "<!-- end of licences -->"


def shipped() -> list[str]:
    """Names of the packages of the lock files."""
    text = "".join((ROOT / "requirements" / name).read_text(encoding="utf-8") for name in SHIPPED)
    return sorted(set(re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)))


def licence_of(package: str) -> str:
    """An expression of SPDX, from the metadata of what is installed."""
    metadata = importlib.metadata.metadata(package)
    if expression := metadata.get("License-Expression"):
        return expression
    classified = [
        classifier.rpartition(" :: ")[2]
        for classifier in metadata.get_all("Classifier", [])
        if classifier.startswith("License ::")
    ]
    names = classified or (metadata.get("License") or "unknown").splitlines()[:1]
    return " OR ".join(sorted(_SPDX.get(classifier, classifier) for classifier in names))


def names_of(expression: str) -> set[str]:
    """The licences in an expression."""
    return set(re.split(r" (?:AND|OR|WITH) ", expression.replace("(", "").replace(")", "")))


def rows() -> Iterator[str]:
    """The table of the page."""
    yield "| package | licence |"
    yield "| --- | --- |"
    for package in shipped():
        yield f"| {package} | {licence_of(package)} |"


def page() -> str:
    """The page with its table as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return "\n".join([before + BEGIN, *rows(), END + rest.partition(END)[2]])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
