"""Every kind of provider has a page, its minimal entry is taken, every key is told, and the table says what is so."""

import re
from typing import Any, get_args

import pytest

from services.generator.adapters.providers import kinds
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.kinds import KINDS
from services.generator.adapters.providers.procedural.process_pool import Renderers
from tests.support.pages import provider_pages


@pytest.fixture(scope="module")
def renderers() -> Renderers:
    """Processes that draw, for the kind that needs them."""
    return Renderers(1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_minimal_entry_of_a_page_is_taken(kind: str, renderers: Renderers) -> None:
    assert provider_pages.described(kind, renderers).kind == kind


def _settings(kind: str) -> Any:
    """The class of a kind's settings; None for a kind without any."""
    entries = get_args(kinds.ProviderEntry)
    entry = next(one for one in entries if get_args(one.model_fields["kind"].annotation) == (kind,))
    return entry.model_fields["settings"].annotation if "settings" in entry.model_fields else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_tells_every_setting(kind: str) -> None:
    """Those of another kind are on that kind's page, to which this one leads."""
    own, page = _settings(kind), provider_pages.page_of(kind)
    others = {other: _settings(other) for other in KINDS if other != kind}
    inherited = {other: one for other, one in others.items() if one and own and issubclass(own, one)}
    known = {name for one in inherited.values() for name in one.model_fields}
    names = set(own.model_fields) - known if own else set()

    assert sorted(name for name in names if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", page)) == []
    assert all(f"({other}.md" in page for other in inherited)


def test_the_index_tells_every_key_of_an_entry() -> None:
    page = provider_pages.INDEX.read_text(encoding="utf-8")
    own = {"settings"}

    assert [name for name in RemoteEntry.model_fields if f"`{name}`" not in page and name not in own] == []


def test_the_tables_say_what_the_adapters_offer(renderers: Renderers) -> None:
    page = provider_pages.INDEX.read_text(encoding="utf-8")

    assert provider_pages.with_tables(page, renderers) == page
