"""An answer is read as JSON says, whatever its words are written in, and its images are not made larger by them."""

import json
import tracemalloc
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.adapters.providers.http.errors import classify, read_json
from services.generator.adapters.providers.http.responses import COPIES, ProviderResponse
from services.generator.domain import untrusted_text as foreign
from services.generator.domain.provider_results import ProviderError


def came(body: bytes, *, status: int = 200) -> ProviderResponse:
    """An answer that came whole."""
    return ProviderResponse(status_code=status, headers=httpx.Headers(), content=body, limit=64 * 1024 * 1024)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(told=st.dictionaries(st.text(), VALUES, max_size=4), is_ascii=st.booleans())
def test_any_object_is_read_as_it_was_written(told: dict[str, Any], *, is_ascii: bool) -> None:
    body = json.dumps(told, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")

    assert read_json("vendor", came(body)) == told


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_of_json_is_understood(encoding: str) -> None:
    body = json.dumps({"words": "“früh” 🌅 \\ \n"}, ensure_ascii=False).encode(encoding)

    assert read_json("vendor", came(body)) == {"words": "“früh” 🌅 \\ \n"}


@pytest.mark.parametrize("body", [b"\xff", b'{"a": "\xe2\x80"}', b"[1]", b"\xc3\xa4", b"", b'{"a": \xc3\xa4}'])
def test_what_is_no_object_is_not_the_vendors_format(body: bytes) -> None:
    with pytest.raises(ProviderError) as refusal:
        read_json("vendor", came(body))
    assert refusal.value.reason == "UNCLASSIFIED"


@pytest.mark.parametrize("words", ["a harbour", "a “harbour”", "🌅"])
def test_an_answer_takes_no_more_memory_than_it_counts_as(words: str) -> None:
    image = "A" * 4 * 1024 * 1024
    told = came(json.dumps({"words": words, "image": image}, ensure_ascii=False).encode())
    tracemalloc.start(1)
    try:
        assert read_json("vendor", told)["image"] == image
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The body itself was there before.
    assert peak < (COPIES - 1) * len(image) + 1024 * 1024


def test_of_a_long_answer_the_beginning_is_told() -> None:
    vendor = classify("vendor", came(("ä" * 100_000).encode(), status=500), ()).vendor

    assert vendor.message.startswith("ä" * 900)
    assert vendor.message.endswith(foreign.CUT)
