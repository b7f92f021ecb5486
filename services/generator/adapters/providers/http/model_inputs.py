"""Requests to models whose inputs have names of their own: what is offered, and what is sent under which name."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.http.model_inputs_entry import InputField, ModelInputs
from services.generator.domain.jobs import MaskForm, Request
from services.generator.ports import Order


class Offers(TypedDict):
    """Capabilities by their names in the catalogue."""

    sizes: tuple[str, ...]
    aspect_ratios: tuple[str, ...]
    min_side: int
    max_side: int
    side_multiple: int
    output_formats: tuple[str, ...]
    qualities: tuple[str, ...]
    seed: bool
    negative_prompt: bool
    max_input_images: int
    mask: bool


def offers(settings: ModelInputs) -> Offers:
    """What the models take: exactly the fields that have a name."""
    inputs = settings.inputs
    names = tuple(settings.size_names) if "size" in inputs else ()
    any_size = not names and ("size" in inputs or ("width" in inputs and "height" in inputs))
    return Offers(
        sizes=names,
        aspect_ratios=settings.aspect_ratios if "aspect_ratio" in inputs else (),
        min_side=settings.min_side if any_size else 0,
        max_side=settings.max_side if any_size else 0,
        side_multiple=settings.side_multiple if any_size else 0,
        output_formats=settings.output_formats if "output_format" in inputs else (),
        qualities=settings.qualities if "quality" in inputs else (),
        seed="seed" in inputs,
        negative_prompt="negative_prompt" in inputs,
        max_input_images=settings.max_input_images,
        mask=settings.takes_mask,
    )


def refuse_lost_pictures(name: str, order: Order, settings: ModelInputs) -> None:
    """Raises `ProviderError` where a picture would be left out: the file has changed since the job was taken."""
    brought = input_images.of_order(order)
    if len(brought.images) > settings.max_input_images:
        raise input_images.not_taken(name, order.model, f"more than {settings.max_input_images} input images")
    if brought.mask is not None and not settings.takes_mask:
        raise input_images.not_taken(name, order.model, "a mask")


def mask_form(settings: ModelInputs) -> MaskForm:
    """How the models read a mask."""
    return MaskForm.BLACK if "black_mask" in settings.inputs else MaskForm.WHITE


def fields_of(
    order: Order,
    request: Request,
    settings: ModelInputs,
    *,
    images: Sequence[str] = (),
    mask: str | None = None,
) -> dict[InputField, Any]:
    """The fields of a request by our names; without a say in how many images there are, a model makes one.

    `images` and `mask` are addresses of the pictures that came with it.
    """
    width, _, height = (request.size or "").partition("x")
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "n": order.count if settings.max_images_per_call > 1 else None,
        "seed": order.seed,
        "size": settings.size_names.get(request.size or "") if settings.size_names else request.size,
        "aspect_ratio": request.aspect_ratio,
        "width": int(width) if height else None,
        "height": int(height) if height else None,
        "output_format": request.output_format,
        "quality": request.quality,
        "image": images[0] if images else None,
        "images": list(images) or None,
        "mask": mask,
        "black_mask": mask,
    }


def input_of(fields: Mapping[InputField, Any], request: Request, settings: ModelInputs) -> dict[str, Any]:
    """The model's input: options as they came, and over them every field that has a name."""
    inputs = settings.inputs
    given = {inputs[name]: value for name, value in fields.items() if value is not None and name in inputs}
    return {**request.options, **given}
