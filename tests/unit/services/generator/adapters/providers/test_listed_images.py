"""Lists of images in answers: an item that cannot be read takes no other with it, and is not lost itself."""

import json
from typing import Any

import pytest

from services.generator.adapters.providers.http import listed_images
from services.generator.domain import untrusted_text
from services.generator.domain.provider_results import ImageSource


def source(told: Any) -> ImageSource | None:
    """A text is an address."""
    return ImageSource(url=told) if isinstance(told, str) else None


def test_items_are_read_in_their_order() -> None:
    assert listed_images.read(["a", "b"], source) == (ImageSource(url="a"), ImageSource(url="b"))


def test_what_cannot_be_read_comes_last_as_it_came() -> None:
    odd = {"link": "b"}

    found = listed_images.read([odd, "a", None, ""], source)

    assert found == (ImageSource(url="a"), ImageSource(data=json.dumps(odd).encode()))


def test_no_secret_is_kept_of_what_cannot_be_read() -> None:
    untrusted_text.register_secret("sk-of-the-listed-images")

    *_, odd = listed_images.read(["a", {"link": "https://x/?key=sk-of-the-listed-images"}], source)

    assert b"sk-of-the-listed-images" not in (odd.data or b"sk-of-the-listed-images")


@pytest.mark.parametrize("told", [None, {}, "a", [], [None], [{"link": "b"}], 5])
def test_without_an_image_the_answer_is_judged_as_a_whole(told: Any) -> None:
    assert listed_images.read(told, source) == ()
