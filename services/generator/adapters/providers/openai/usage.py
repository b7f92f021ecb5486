"""The cost in a response of OpenAI's Images API: in money if the server reports it, else in tokens."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.http import costs
from services.generator.adapters.providers.http.costs import Tokens
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import TokenUsage

#: xAI reports ticks; a dollar has 10^10. https://docs.x.ai/developers/cost-tracking
TICKS_PER_MICRO = 10_000


def reported_cost(response: ProviderResponse, body: Mapping[str, Any]) -> int | None:
    """Returns the cost that xAI, OpenRouter or LiteLLM report, in millionths of a US dollar; None without one."""
    usage = _object(body, "usage")
    ticks = costs.number(usage, "cost_in_usd_ticks")
    if ticks is not None:
        return -(-ticks // TICKS_PER_MICRO)
    in_body = costs.of_dollars(usage.get("cost"))
    return in_body if in_body is not None else costs.of_dollars(response.headers.get("x-litellm-response-cost"))


def tokens(body: Mapping[str, Any], *, has_inputs: bool) -> Tokens | None:
    """Returns the tokens of a call; None if the response has none, or does not say of which kind they are."""
    usage = _object(body, "usage")
    inputs, details = costs.number(usage, "input_tokens"), _object(usage, "input_tokens_details")
    text, image = costs.number(details, "text_tokens"), costs.number(details, "image_tokens")
    made, made_details = costs.number(usage, "output_tokens"), _object(usage, "output_tokens_details")
    words = costs.number(made_details, "text_tokens") or 0
    if text is None and image is None and not has_inputs:
        # Without input images, all input tokens are the prompt's.
        text = inputs
    if (text is None and image is None) or made is None or words > made:
        return None
    return Tokens(text_input=text or 0, image_input=image or 0, image_output=made - words, text_output=words)


def totals(body: Mapping[str, Any]) -> TokenUsage:
    """Returns the tokens of a call, of all kinds together."""
    usage = _object(body, "usage")
    return TokenUsage(inputs=costs.number(usage, "input_tokens"), outputs=costs.number(usage, "output_tokens"))


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}
