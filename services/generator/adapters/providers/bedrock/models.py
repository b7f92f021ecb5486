"""Request bodies of the image models on Amazon Bedrock, and the images in their responses."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.bedrock.entry import Family
from services.generator.adapters.providers.seeds import seed_of
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import ImageSource
from services.generator.ports import ProviderRequest

#: The largest seed of each family.
MAX_SEED: Mapping[Family, int] = {"nova": 858_993_459, "titan": 2_147_483_646, "stability": 4_294_967_294}
#: How much Stability's models may change an input image if the job's options do not say: 0 nothing, 1 everything.
STRENGTH = 0.7


def seed_for(family: Family, provider_request: ProviderRequest) -> int:
    """Returns the seed to send, mapped into the family's range.

    A call without a seed gets one made from its id, because Nova without a seed repeats the same image.
    """
    seed = provider_request.seed if provider_request.seed is not None else seed_of(provider_request.call_id)
    limit = MAX_SEED[family]
    # To Stability's models, 0 means a random seed.
    return (seed - 1) % limit + 1 if family == "stability" else seed % (limit + 1)


def body_of(family: Family, provider_request: ProviderRequest, request: Request, *, seed: int) -> dict[str, Any]:
    """Returns the body of a call."""
    return (
        _stability(provider_request, request, seed)
        if family == "stability"
        else _amazon(provider_request, request, seed)
    )


def _amazon(provider_request: ProviderRequest, request: Request, seed: int) -> dict[str, Any]:
    """Returns an Amazon model's body; options are merged into the task and into `imageGenerationConfig`."""
    width, _, height = (request.size or "").partition("x")
    words = _without_none(text=request.prompt, negativeText=request.negative_prompt)
    config = _without_none(
        width=int(width) if height else None,
        height=int(height) if height else None,
        quality=request.quality,
        numberOfImages=provider_request.count,
        seed=seed,
    )
    task, field = (
        ("IMAGE_VARIATION", "imageVariationParams") if provider_request.inputs else ("TEXT_IMAGE", "textToImageParams")
    )
    if provider_request.inputs:
        words["images"] = [input_images.encoded(data) for data in provider_request.inputs]
    given = request.options
    return {
        **given,
        "taskType": task,
        field: {**_object(given, field), **words},
        "imageGenerationConfig": {**_object(given, "imageGenerationConfig"), **config},
    }


def _stability(provider_request: ProviderRequest, request: Request, seed: int) -> dict[str, Any]:
    fields = _without_none(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        aspect_ratio=request.aspect_ratio,
        output_format=request.output_format,
        seed=seed,
    )
    if not provider_request.inputs:
        return {**request.options, **fields}
    image = {"mode": "image-to-image", "image": input_images.encoded(provider_request.inputs[0])}
    return {"strength": STRENGTH, **request.options, **fields, **image}


def images_of(body: Mapping[str, Any], *, seed: int | None) -> tuple[ImageSource, ...]:
    """Returns the images of a response. A single image has the seed of the response, else `seed`."""
    listed, seeds = body.get("images"), body.get("seeds")
    texts = [item for item in listed if isinstance(item, str) and item] if isinstance(listed, list) else []
    if len(texts) != 1:
        return tuple(ImageSource(base64=text) for text in texts)
    first = seeds[0] if isinstance(seeds, list) and seeds else None
    return (ImageSource(base64=texts[0], seed=first if type(first) is int and first >= 0 else seed),)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}
