"""What a call has cost: as its answer says, by the tokens that it tells, by the file's prices; else nobody knows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from services.generator.adapters.providers.entry_fields import ModelEntry, TokenPrices

MILLION = 1_000_000
#: What is told beyond this is no cost of a call.
MOST_MICROS = 10_000 * MILLION


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a call is billed by, by what the tokens stand for."""

    text_input: int = 0
    image_input: int = 0
    image_output: int = 0
    text_output: int = 0


def of_call(
    model: ModelEntry | None,
    count: int,
    *,
    told: int | None = None,
    tokens: Tokens | None = None,
    quality: str | None = None,
    size: str | None = None,
) -> int | None:
    """Millionths of a US dollar for `count` images of a call; `told` is what the vendor says that it was."""
    if told is not None or model is None:
        return told
    if tokens is not None and model.token_prices is not None:
        by_tokens = _of_tokens(tokens, model.token_prices)
        if by_tokens is not None:
            return by_tokens
    fitting = next((one.micros_per_image for one in model.prices if one.fits(quality, size)), None)
    each = model.price_micros_per_image if fitting is None else fitting
    return None if each is None else each * count


def of_dollars(told: Any) -> int | None:
    """A cost in US dollars, rounded up; None for what is none."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return None
    try:
        micros = Decimal(str(told)) * MILLION
    except InvalidOperation:
        return None
    return math.ceil(micros) if micros.is_finite() and 0 <= micros <= MOST_MICROS else None


def number(told: Mapping[str, Any], name: str) -> int | None:
    """A number of tokens; None where it is not told, or is none."""
    value = told.get(name)
    return value if type(value) is int and 0 <= value <= MOST_MICROS else None


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
