"""The tokens in a response of the Gemini API, by kind."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.http import costs
from services.generator.adapters.providers.http.costs import Tokens
from services.generator.domain.provider_results import TokenUsage


def tokens(body: Mapping[str, Any]) -> Tokens | None:
    """Returns the tokens of a call; None if the response has none. Thoughts are billed as generated text."""
    usage = body.get("usageMetadata")
    if not isinstance(usage, dict):
        return None
    inputs, outputs = costs.number(usage, "promptTokenCount"), costs.number(usage, "candidatesTokenCount")
    if inputs is None or outputs is None:
        return None
    image_inputs = _of_images(usage, "promptTokensDetails") or 0
    image_outputs = _of_images(usage, "candidatesTokensDetails")
    image_outputs = outputs if image_outputs is None else image_outputs
    if image_inputs > inputs or image_outputs > outputs:
        return None
    return Tokens(
        text_input=inputs - image_inputs,
        image_input=image_inputs,
        image_output=image_outputs,
        text_output=outputs - image_outputs + (costs.number(usage, "thoughtsTokenCount") or 0),
    )


def totals(body: Mapping[str, Any]) -> TokenUsage:
    """Returns the tokens of a call, of all kinds together; thoughts are generated text."""
    found = body.get("usageMetadata")
    usage = found if isinstance(found, dict) else {}
    outputs = costs.number(usage, "candidatesTokenCount")
    if outputs is not None:
        outputs += costs.number(usage, "thoughtsTokenCount") or 0
    return TokenUsage(inputs=costs.number(usage, "promptTokenCount"), outputs=outputs)


def _of_images(usage: Mapping[str, Any], name: str) -> int | None:
    """Returns the tokens of images in a list of details; None without details."""
    listed = usage.get(name)
    parts = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    found = [costs.number(item, "tokenCount") or 0 for item in parts if item.get("modality") == "IMAGE"]
    return sum(found) if parts else None
