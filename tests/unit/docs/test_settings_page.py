"""The page of settings has every setting, with what the code says of it."""

import re

import pytest
import yaml

from common import identities
from gateway.auth import keys_file
from tests.support.pages import settings_page

GROUPS = [*settings_page.SERVICES.values(), *settings_page.SHARED.values()]


@pytest.mark.parametrize("settings", GROUPS, ids=lambda settings: settings.__module__)
def test_every_setting_is_described(settings: type) -> None:
    described = settings_page.descriptions(settings)

    assert [field.name for field in settings_page.own_fields(settings) if field.name not in described] == []


def test_every_known_setting_is_read() -> None:
    assert settings_page.unread() == []


def test_the_page_is_fresh() -> None:
    page = settings_page.PAGE.read_text(encoding="utf-8")

    assert settings_page.with_tables(page) == page, "run python -m tests.support.pages.settings_page"


@pytest.mark.parametrize(
    ("heading", "entry"),
    [("keys", keys_file._Tenant), ("identities", identities._Entry)],
)
def test_every_key_of_a_file_is_described_with_whether_it_is_required(heading: str, entry: object) -> None:
    fields = entry.model_fields  # type: ignore[attr-defined]
    page = settings_page.PAGE.read_text(encoding="utf-8")
    section = page.partition(f"\n## The {heading} file\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)

    assert {name: default == "**required**" for name, default in rows} == {
        name: field.is_required() for name, field in fields.items()
    }


@pytest.mark.parametrize(
    ("heading", "file"), [("keys", keys_file._Content), ("identities", identities._IdentitiesFile)]
)
def test_the_example_of_a_file_is_accepted(heading: str, file: object) -> None:
    page = settings_page.PAGE.read_text(encoding="utf-8")
    section = page.partition(f"\n## The {heading} file\n")[2].partition("\n## ")[0]
    example = section.partition("```yaml\n")[2].partition("```")[0]

    file.model_validate(yaml.safe_load(example))  # type: ignore[attr-defined]


def test_the_default_retention_is_named_where_it_is_warned_of() -> None:
    warning = re.search(r"after (\d+) days", settings_page.PAGE.read_text(encoding="utf-8"))

    assert warning
    assert int(warning[1]) == settings_page.JobSettings.retention_days
