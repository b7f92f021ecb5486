"""The tokens of a call as providers count them, whatever else they send."""

from typing import Any

import pytest

from services.generator.adapters.providers.gemini import usage as gemini
from services.generator.adapters.providers.openai import usage as openai
from services.generator.domain.provider_results import TokenUsage


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"input_tokens": 150, "output_tokens": 4_160, "total_tokens": 4_310}, TokenUsage(inputs=150, outputs=4_160)),
        ({"output_tokens": 4_160}, TokenUsage(outputs=4_160)),
        ({"input_tokens": -1, "output_tokens": 2**64}, TokenUsage()),
        ("many", TokenUsage()),
        (None, TokenUsage()),
    ],
)
def test_of_openai(usage: Any, wanted: TokenUsage) -> None:
    assert openai.totals({"usage": usage}) == wanted


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        (
            {"promptTokenCount": 30, "candidatesTokenCount": 1_120, "thoughtsTokenCount": 100},
            TokenUsage(inputs=30, outputs=1_220),
        ),
        ({"promptTokenCount": "30", "thoughtsTokenCount": 100}, TokenUsage()),
        ([], TokenUsage()),
    ],
)
def test_of_gemini(usage: Any, wanted: TokenUsage) -> None:
    assert gemini.totals({"usageMetadata": usage}) == wanted
