"""Requests to models that name their inputs differently: what the entry offers, and the model's input of a call."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.http.model_inputs_entry import InputField, ModelInputs
from services.generator.domain.jobs import MaskForm, Request
from services.generator.ports import ProviderRequest


class Offers(TypedDict):
    """Capabilities, named and measured as in `calotype.provider.v1.Capabilities`."""

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
    """Returns the capabilities of the models: exactly the fields that `inputs` names."""
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
        mask=settings.accepts_mask,
    )


def refuse_lost_images(name: str, provider_request: ProviderRequest, settings: ModelInputs) -> None:
    """Raises `ProviderError` if an image would be left out, because the file changed after the job was accepted."""
    attached = input_images.of_request(provider_request)
    if len(attached.images) > settings.max_input_images:
        raise input_images.images_refused(
            name, provider_request.model, f"more than {settings.max_input_images} input images"
        )
    if attached.mask is not None and not settings.accepts_mask:
        raise input_images.images_refused(name, provider_request.model, "a mask")


def mask_form(settings: ModelInputs) -> MaskForm:
    """Returns how the models read a mask."""
    return MaskForm.BLACK if "black_mask" in settings.inputs else MaskForm.WHITE


def fields_of(
    provider_request: ProviderRequest,
    request: Request,
    settings: ModelInputs,
    *,
    images: Sequence[str] = (),
    mask: str | None = None,
) -> dict[InputField, Any]:
    """Returns the fields of a request by our names; without `n`, a model makes one image.

    `images` and `mask` are URLs or data URIs of the input images.
    """
    width, _, height = (request.size or "").partition("x")
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "n": provider_request.count if settings.max_images_per_call > 1 else None,
        "seed": provider_request.seed,
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
    """Returns the model's input: the job's options, replaced by every field that `inputs` names."""
    inputs = settings.inputs
    fields_sent = {inputs[name]: value for name, value in fields.items() if value is not None and name in inputs}
    return {**request.options, **fields_sent}
