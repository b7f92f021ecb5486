"""The tokens of an answer of the Gemini API, by what they stand for."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.http import costs
from services.generator.adapters.providers.http.costs import Tokens


def tokens(told: Mapping[str, Any]) -> Tokens | None:
    """The tokens of a call; None where they are not told. Thoughts are billed as words."""
    usage = told.get("usageMetadata")
    if not isinstance(usage, dict):
        return None
    given, made = costs.number(usage, "promptTokenCount"), costs.number(usage, "candidatesTokenCount")
    if given is None or made is None:
        return None
    pictures, drawn = _of_images(usage, "promptTokensDetails") or 0, _of_images(usage, "candidatesTokensDetails")
    drawn = made if drawn is None else drawn
    if pictures > given or drawn > made:
        return None
    return Tokens(
        text_input=given - pictures,
        image_input=pictures,
        image_output=drawn,
        text_output=made - drawn + (costs.number(usage, "thoughtsTokenCount") or 0),
    )


def _of_images(usage: Mapping[str, Any], name: str) -> int | None:
    """How many of them are of images; None where that is not told."""
    listed = usage.get(name)
    parts = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    found = [costs.number(one, "tokenCount") or 0 for one in parts if one.get("modality") == "IMAGE"]
    return sum(found) if parts else None
