"""Types and tables that the entries of the provider file share: sizes, ratios, prices, models and defaults."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from common.network.addresses import private_network
from services.generator.adapters.providers import option_rules
from services.generator.domain.jobs import Request


def _text_of_number(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


#: Pixels, as WIDTHxHEIGHT.
Size = Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$")]
#: Another name of a model, without a slash.
Alias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")]
OutputFormat = Literal["png", "jpeg", "webp"]
#: WIDTH:HEIGHT in whole numbers, or with decimals such as 19.5:9.
Ratio = Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,2})?:\d{1,4}(\.\d{1,2})?$")]
#: Millionths of a US dollar.
Micros = Annotated[int, Field(ge=0)]
#: An HTTP status from 400 to 599, or all of a hundred (`5xx`); YAML writes 503 as a number.
StatusPattern = Annotated[str, BeforeValidator(_text_of_number), Field(pattern=r"^[45](xx|\d\d)$")]
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def _private_name(value: str) -> str:
    """A host name or a private network, in lower case. Raises `ValueError`.

    A cloud platform's metadata addresses stay forbidden, whatever the list has.
    """
    if private_network(value) is None and not _HOST.fullmatch(value):
        raise ValueError("must be a host name or a private network, such as minio.internal or 10.1.0.0/16")
    return value.lower()


PrivateName = Annotated[str, AfterValidator(_private_name)]


class Strict(BaseModel):
    """A table of the provider file: immutable, and without keys that it does not define.

    The text under each key is its description in `docs/providers/fields.md`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Price(Strict):
    """Price of images of one quality and size."""

    micros_per_image: Micros
    """Price of one image, in millionths of a US dollar."""
    quality: str | None = None
    """Quality that the price is for; left out, any."""
    size: str | None = None
    """Size that the price is for, as WIDTHxHEIGHT in pixels; left out, any."""

    def fits(self, quality: str | None, size: str | None) -> bool:
        """Returns whether an image of this quality and size has this price."""
        return self.quality in (None, quality) and self.size in (None, size)


class TokenPrices(Strict):
    """Prices of a million tokens, in millionths of a US dollar."""

    text_input: Micros
    """Price of a million tokens of the prompt."""
    image_input: Micros
    """Price of a million tokens of input images."""
    image_output: Micros
    """Price of a million tokens of generated images."""
    text_output: Micros | None = None
    """Price of a million tokens of generated text; left out, a call that has such tokens is priced per image."""


class ModelEntry(Strict):
    """One model of a provider, with its prices in millionths of a US dollar."""

    name: str = Field(min_length=1, max_length=200)
    """The model's name at the provider, as jobs write it; 1 to 200 characters."""
    price_micros_per_image: Micros | None = None
    """Price of one image: the estimate before a call, and the cost of a call whose response and other prices give none.
    Left out, such a cost is unknown."""
    prices: tuple[Price, ...] = Field(default=(), max_length=64)
    """Prices by quality and size, 64 at most; the first that fits an image is its price."""
    token_prices: TokenPrices | None = None
    """Prices per token, for providers that bill by tokens and report them; left out, images have a price each."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Settings for this model alone; they replace the entry's settings key by key."""

    @property
    def highest_price_micros(self) -> int | None:
        """The highest price of an image by the provider file, for estimates; None without any price."""
        prices = [price.micros_per_image for price in self.prices]
        if self.price_micros_per_image is not None:
            prices.append(self.price_micros_per_image)
        return max(prices, default=None)


class Defaults(Strict):
    """Values for fields that a job leaves out."""

    negative_prompt: str | None = None
    """What the image must not show; left out, nothing is sent."""
    size: str | None = Field(default=None, pattern=r"^\d{1,5}x\d{1,5}$")
    """Size as WIDTHxHEIGHT in pixels, for jobs with neither size nor ratio; excludes `aspect_ratio`."""
    aspect_ratio: Ratio | None = None
    """Ratio as WIDTH:HEIGHT, for jobs with neither size nor ratio; excludes `size`."""
    quality: str | None = None
    """Quality, by the provider's name; left out, the provider chooses."""
    output_format: OutputFormat | None = None
    """Format of the images; left out, the provider chooses."""
    provider_options: Mapping[str, Any] = Field(default_factory=dict)
    """Options by the provider's names; a job's own options are merged over them, object by object. They need no rule in
    `allowed_options`."""

    @model_validator(mode="after")
    def _one_shape(self) -> "Defaults":
        if self.size is not None and self.aspect_ratio is not None:
            raise ValueError("size and aspect_ratio exclude each other: write one of them")
        return self

    def applied_to(self, request: Request) -> Request:
        """Returns the request with defaults where it has no value; a job's size or ratio replaces both defaults."""
        has_shape = bool(request.size or request.aspect_ratio)
        return replace(
            request,
            negative_prompt=self.negative_prompt if request.negative_prompt is None else request.negative_prompt,
            size=request.size if has_shape else self.size,
            aspect_ratio=request.aspect_ratio if has_shape else self.aspect_ratio,
            quality=request.quality or self.quality,
            output_format=request.output_format or self.output_format,
            options=option_rules.merged(self.provider_options, request.options),
        )
