"""The project keeps its own word: paths, versions, diagrams and catalogues that are told in two places."""

import re
import tomllib
from pathlib import Path

import calotype
from calotype.error_reasons import Reason

from services.job.domain.states import LEGAL

ROOT = Path(__file__).parents[1]


def test_every_path_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\((?!https?:)([^)#]+)", text)

    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_package_and_the_code_tell_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == calotype.__version__


def test_the_diagram_shows_exactly_the_legal_transitions() -> None:
    text = (ROOT / "docs/state-machine.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+): (\w+)$", text, re.MULTILINE))
    legal = {
        (source.value, target.value, transition.name.lower())
        for transition, sources in LEGAL.items()
        for source, targets in sources.items()
        for target in targets
    }

    assert drawn == legal


def test_every_reason_is_explained() -> None:
    text = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))

    assert explained == set(Reason)


def test_every_test_that_stands_behind_a_guarantee_exists() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"^- `(tests/[\w/]+\.py)::(\w+)`$", text, re.MULTILINE)

    assert len(named) > 20
    assert [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")] == []
