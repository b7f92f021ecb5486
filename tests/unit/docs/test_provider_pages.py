"""Every kind of provider has a page, its minimal entry is taken, every key is told, and the table says what is so."""

import re
from typing import get_args

import pytest

from services.generator.adapters import provider_entries
from services.generator.adapters.provider_entries import KINDS
from services.generator.adapters.provider_entries.shared import RemoteEntry
from services.generator.adapters.rendering import Renderers
from tests.support import provider_pages


@pytest.fixture(scope="module")
def renderers() -> Renderers:
    """Processes that draw, for the kind that needs them."""
    return Renderers(1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_minimal_entry_of_a_page_is_taken(kind: str, renderers: Renderers) -> None:
    assert provider_pages.described(kind, renderers).kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_tells_every_setting(kind: str) -> None:
    [entry] = [
        one
        for one in get_args(provider_entries.ProviderEntry)
        if get_args(one.model_fields["kind"].annotation) == (kind,)
    ]
    settings = entry.model_fields.get("settings")
    names = settings.annotation.model_fields if settings else {}
    page = provider_pages.page_of(kind)

    assert [name for name in names if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", page)] == []


def test_the_index_tells_every_key_of_an_entry() -> None:
    page = provider_pages.INDEX.read_text(encoding="utf-8")
    own = {"settings"}

    assert [name for name in RemoteEntry.model_fields if f"`{name}`" not in page and name not in own] == []


def test_the_table_says_what_the_adapters_offer(renderers: Renderers) -> None:
    page = provider_pages.INDEX.read_text(encoding="utf-8")

    assert provider_pages.with_table(page, provider_pages.table(renderers)) == page
