"""What an answer in OpenAI's shape says that it cost: in money where a server does, else in tokens."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.http import costs
from services.generator.adapters.providers.http.costs import Tokens
from services.generator.adapters.providers.http.responses import Answer

#: xAI's: a dollar has 10^10 ticks. https://docs.x.ai/developers/cost-tracking
TICKS_PER_MICRO = 10_000


def told_cost(answer: Answer, told: Mapping[str, Any]) -> int | None:
    """The cost in millionths of a US dollar that xAI, OpenRouter or LiteLLM name; None where nobody does."""
    usage = _object(told, "usage")
    ticks = costs.number(usage, "cost_in_usd_ticks")
    if ticks is not None:
        return -(-ticks // TICKS_PER_MICRO)
    in_body = costs.of_dollars(usage.get("cost"))
    return in_body if in_body is not None else costs.of_dollars(answer.headers.get("x-litellm-response-cost"))


def tokens(told: Mapping[str, Any], *, has_inputs: bool) -> Tokens | None:
    """The tokens of a call; None where they are not told, or not what they stand for."""
    usage = _object(told, "usage")
    given, details = costs.number(usage, "input_tokens"), _object(usage, "input_tokens_details")
    text, image = costs.number(details, "text_tokens"), costs.number(details, "image_tokens")
    made, made_details = costs.number(usage, "output_tokens"), _object(usage, "output_tokens_details")
    words = costs.number(made_details, "text_tokens") or 0
    if text is None and image is None and not has_inputs:
        # Without images to start from, all of it is the prompt.
        text = given
    if (text is None and image is None) or made is None or words > made:
        return None
    return Tokens(text_input=text or 0, image_input=image or 0, image_output=made - words, text_output=words)


def _object(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    return value if isinstance(value, dict) else {}
