"""Every key of the provider file has a description, and the page of them is what the classes say."""

import pytest
from pydantic import BaseModel

from tests.support.pages import provider_fields


def test_the_page_is_what_the_classes_say() -> None:
    assert provider_fields.PAGE.read_text(encoding="utf-8") == provider_fields.page()


@pytest.mark.parametrize("schema", provider_fields.all_schemas(), ids=lambda schema: schema.__name__)
def test_a_class_and_each_of_its_keys_are_described(schema: type[BaseModel]) -> None:
    assert schema.__doc__
    undescribed = [name for name, field in schema.model_fields.items() if not (field.description or "").endswith(".")]
    assert undescribed == []


def test_the_index_leads_to_the_page() -> None:
    assert "(fields.md)" in (provider_fields.PAGE.parent / "README.md").read_text(encoding="utf-8")


def test_every_kind_and_class_has_its_section() -> None:
    page = provider_fields.page()

    assert [kind for kind in provider_fields.entries() if f"\n## {kind}\n" not in page] == []
    for kind in provider_fields.entries():
        for schema in provider_fields.schemas_of(kind):
            assert not schema.model_fields or f"`{next(iter(schema.model_fields))}`" in page
