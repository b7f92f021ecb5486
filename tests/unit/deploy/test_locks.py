"""Lock files hold what the project asks for: a dependency that was added without them would be missing in the image."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUN = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
EMBEDDED = EXTRAS["embedded"]
#: What providers in a cloud need of its owner.
CLOUDS = [*EXTRAS["azure"], *EXTRAS["bedrock"]]


def _names(lines: list[str]) -> set[str]:
    return {re.split(r"[\s<>=~!\[;]", line)[0].lower().replace("_", "-") for line in lines}


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("services", [*RUN, *CLOUDS]),
        ("run", [*RUN, *EMBEDDED]),
        ("benchmarks", PROJECT["dependency-groups"]["benchmarks"]),
        ("dev", [*RUN, *EMBEDDED, *CLOUDS, *PROJECT["dependency-groups"]["dev"]]),
    ],
)
def test_a_lock_holds_every_package_that_is_asked_for(lock: str, wanted: list[str]) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")

    assert _names(wanted) <= _names(re.findall(r"^[A-Za-z0-9][^\s]*==.*$", text, re.MULTILINE))
