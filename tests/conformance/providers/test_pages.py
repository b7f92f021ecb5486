"""Pages of vendors that another kind serves: what a page's entry, as a reader copies it, sends and makes of answers."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from services.generator.adapters.providers import provider_file
from services.generator.adapters.providers.kinds import ProviderFile
from tests.support.providers import goldens
from tests.support.providers.goldens import Golden
from tests.support.providers.provider_fixtures import REMOTE

DOCS = Path(__file__).parents[3] / "docs" / "providers"
FOLDER = Path(__file__).parent / "pages"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
_ENTRY = re.compile(r"^```yaml\n(providers:\n.*?)^```$", re.DOTALL | re.MULTILINE)


def entry_of(page: str) -> str:
    """The provider file that a page begins with."""
    found = _ENTRY.search((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert found, f"{page}.md has no entry"
    return found[1]


def served(name: str) -> Golden:
    """The page's entry with a vendor of the test's own, and the cases that it is held to."""
    [entry] = yaml.safe_load(entry_of(name))["providers"]
    here = {"base_url": "{url}" + urlsplit(entry["base_url"]).path, "timeout_seconds": 90}
    cases = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))["cases"]
    return Golden(kind=entry["kind"], entry=entry | here, cases=cases)


CASES = [(name, case) for name in NAMES for case in served(name).cases]


@pytest.mark.parametrize("page", ["openai", "gemini", *NAMES])
def test_the_entry_of_a_page_is_a_provider_file(page: str, tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(entry_of(page), encoding="utf-8")

    assert len(provider_file.read(file, max_timeout_seconds=600).providers) == 1


@pytest.mark.parametrize(("name", "case"), CASES)
async def test_a_vendor_is_spoken_to_as_its_page_says(name: str, case: str) -> None:
    await goldens.check(served(name), case)


@pytest.mark.parametrize(("name", "case"), CASES)
async def test_a_case_asks_for_nothing_that_its_entry_does_not_offer(name: str, case: str) -> None:
    golden = served(name)
    job: dict[str, Any] = golden.cases[case].get("job", {})
    [entry] = ProviderFile.model_validate({"providers": [{**golden.entry, "base_url": "http://vendor.test"}]}).providers
    provider = REMOTE[golden.kind](entry, api_key="k", transport=None)
    able = provider.describe(is_default=False).capabilities
    await provider.close()

    assert job.get("n", 1) <= able.max_images_per_call
    assert len(job.get("input_images", ())) <= able.max_input_images
    for field, offered in (
        ("aspect_ratio", able.aspect_ratios),
        ("quality", able.qualities),
        ("output_format", able.output_formats),
        ("background", able.backgrounds),
    ):
        assert field not in job or job[field] in offered
    assert not {"size"} & set(job) or able.sizes or able.max_side
    assert all(step["source"].startswith("https://") for step in golden.cases[case]["steps"])
