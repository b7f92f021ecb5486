"""The recipes of `docs/providers/generic.md`: what the page says was played against the vendors' own answers."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.generator.adapters.providers.kinds import ProviderFile
from tests.support.providers import goldens
from tests.support.providers.goldens import Golden

FOLDER = Path(__file__).parent / "recipes"
PAGE = Path(__file__).parents[3] / "docs" / "providers" / "generic.md"
#: By the name of the entry on the page.
RECIPES = {"leonardo": goldens.FOLDER / "generic.yaml"} | {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def golden(path: Path) -> Golden:
    """The golden of a recipe."""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Golden(kind="generic", entry=told["entry"], cases=told["cases"])


def on_the_page() -> dict[str, Any]:
    """Every entry of the page, by its name."""
    blocks = re.findall(r"^```yaml\n(providers:.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {entry["name"]: entry for block in blocks for entry in yaml.safe_load(block)["providers"]}


CASES = [(path.stem, name) for path in sorted(FOLDER.glob("*.yaml")) for name in golden(path).cases]


@pytest.mark.parametrize(("recipe", "name"), CASES)
async def test_a_recipe_sends_exactly_these_requests_and_comes_to_exactly_this(recipe: str, name: str) -> None:
    await goldens.check(golden(RECIPES[recipe]), name)


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_a_recipes_case_says_where_it_is_from(recipe: str, name: str) -> None:
    steps = golden(RECIPES[recipe]).cases[name]["steps"]

    assert all(step["source"].startswith("https://") for step in steps)


@pytest.mark.parametrize("recipe", RECIPES)
async def test_a_recipes_operation_is_followed_by_whoever_comes_after_a_crash(recipe: str) -> None:
    found = golden(RECIPES[recipe])

    assert await goldens.play(found, "good", resumes=True) == found.cases["good"]["comes_to"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_page_has_the_recipe_that_was_played(recipe: str) -> None:
    played, told = golden(RECIPES[recipe]).entry, on_the_page()[recipe]
    path = "/" + told["base_url"].split("/", 3)[3]

    assert told["settings"] == played["settings"]
    assert told["not_charged_on"] == played["not_charged_on"]
    assert played["base_url"] == f"{{url}}{path}"


@pytest.mark.parametrize("name", on_the_page())
def test_every_entry_of_the_page_can_be_used(name: str) -> None:
    ProviderFile.model_validate({"providers": [on_the_page()[name]]})
