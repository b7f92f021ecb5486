"""Requests to models whose inputs have names of their own: what is offered, and what is sent under which name."""

from collections.abc import Mapping
from typing import Any, TypedDict

from services.generator.adapters.provider_entries import InputField, ModelInputs
from services.generator.domain.work import Request
from services.generator.ports import Order


class Offers(TypedDict):
    """Capabilities by their names in the catalogue."""

    aspect_ratios: tuple[str, ...]
    min_side: int
    max_side: int
    side_multiple: int
    output_formats: tuple[str, ...]
    qualities: tuple[str, ...]
    seed: bool
    negative_prompt: bool


def offers(settings: ModelInputs, *, any_size: bool) -> Offers:
    """What the models take: exactly the fields that have a name. `any_size` is whether width and height are free."""
    inputs = settings.inputs
    return Offers(
        aspect_ratios=settings.aspect_ratios if "aspect_ratio" in inputs else (),
        min_side=settings.min_side if any_size else 0,
        max_side=settings.max_side if any_size else 0,
        side_multiple=settings.side_multiple if any_size else 0,
        output_formats=settings.output_formats if "output_format" in inputs else (),
        qualities=settings.qualities if "quality" in inputs else (),
        seed="seed" in inputs,
        negative_prompt="negative_prompt" in inputs,
    )


def fields_of(order: Order, request: Request, settings: ModelInputs) -> dict[InputField, Any]:
    """The fields of a request by our names; without a say in how many images there are, a model makes one."""
    width, _, height = (request.size or "").partition("x")
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "n": order.count if settings.max_images_per_call > 1 else None,
        "seed": order.seed,
        "aspect_ratio": request.aspect_ratio,
        "width": int(width) if height else None,
        "height": int(height) if height else None,
        "output_format": request.output_format,
        "quality": request.quality,
    }


def input_of(fields: Mapping[Any, Any], request: Request, settings: ModelInputs) -> dict[str, Any]:
    """The model's input: options as they came, and over them every field that has a name."""
    inputs = settings.inputs
    given = {inputs[name]: value for name, value in fields.items() if value is not None and name in inputs}
    return {**request.options, **given}
