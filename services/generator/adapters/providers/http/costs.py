"""The cost of a call: as the response has it, else by its tokens, else by the file's prices, else unknown (None)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from services.generator.adapters.providers.entry_fields import ModelEntry, TokenPrices

MILLION = 1_000_000
#: A larger number in a response is not taken for a cost or a count of tokens.
MAX_MICROS = 10_000 * MILLION


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens that a call is billed by."""

    text_input: int = 0
    """Tokens of the prompt."""
    image_input: int = 0
    """Tokens of the input images."""
    image_output: int = 0
    """Tokens of the generated images."""
    text_output: int = 0
    """Tokens of generated text."""


def of_call(
    model: ModelEntry | None,
    count: int,
    *,
    reported: int | None = None,
    tokens: Tokens | None = None,
    quality: str | None = None,
    size: str | None = None,
) -> int | None:
    """Returns the cost of `count` images of a call, in millionths of a US dollar; None if unknown.

    `reported` is the cost in the response, `model` the provider file's entry, None without one.
    """
    if reported is not None or model is None:
        return reported
    if tokens is not None and model.token_prices is not None:
        by_tokens = _of_tokens(tokens, model.token_prices)
        if by_tokens is not None:
            return by_tokens
    fitting = next((item.micros_per_image for item in model.prices if item.fits(quality, size)), None)
    each = model.price_micros_per_image if fitting is None else fitting
    return None if each is None else each * count


def of_dollars(value: Any) -> int | None:
    """Returns a cost in US dollars as millionths, rounded up; None if `value` is no cost."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        micros = Decimal(str(value)) * MILLION
    except InvalidOperation:
        return None
    return math.ceil(micros) if micros.is_finite() and 0 <= micros <= MAX_MICROS else None


def number(fields: Mapping[str, Any], name: str) -> int | None:
    """Returns a number of tokens; None if the field is missing or is no such number."""
    value = fields.get(name)
    return value if type(value) is int and 0 <= value <= MAX_MICROS else None


def _of_tokens(tokens: Tokens, prices: TokenPrices) -> int | None:
    if tokens.text_output and prices.text_output is None:
        return None
    cost = (
        tokens.text_input * prices.text_input
        + tokens.image_input * prices.image_input
        + tokens.image_output * prices.image_output
        + tokens.text_output * (prices.text_output or 0)
    )
    return -(-cost // MILLION)
