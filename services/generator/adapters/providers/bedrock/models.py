"""The bodies of image models on Amazon Bedrock, and where their answers have the images."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.bedrock.entry import Family
from services.generator.adapters.providers.seeds import seed_of
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import ImageSource
from services.generator.ports import Order

#: The largest seeds.
MOST_SEED: Mapping[Family, int] = {"nova": 858_993_459, "titan": 2_147_483_646, "stability": 4_294_967_294}
#: How much an image given to Stability's models is altered, where a job does not say: 0 not at all, 1 wholly.
STRENGTH = 0.7


def seed_for(family: Family, order: Order) -> int:
    """The vendor's seed for ours, folded into its range.

    A call without one is given one: without, Nova makes the same image again and again.
    """
    seed = order.seed if order.seed is not None else seed_of(order.call_id)
    most = MOST_SEED[family]
    # Stability's 0 asks for a random one.
    return (seed - 1) % most + 1 if family == "stability" else seed % (most + 1)


def body_of(family: Family, order: Order, request: Request, *, seed: int) -> dict[str, Any]:
    """The body of a call."""
    return _stability(order, request, seed) if family == "stability" else _amazon(order, request, seed)


def _amazon(order: Order, request: Request, seed: int) -> dict[str, Any]:
    """Options are merged one level deep: those of the task, and of `imageGenerationConfig`."""
    width, _, height = (request.size or "").partition("x")
    words = _given(text=request.prompt, negativeText=request.negative_prompt)
    config = _given(
        width=int(width) if height else None,
        height=int(height) if height else None,
        quality=request.quality,
        numberOfImages=order.count,
        seed=seed,
    )
    task, field = ("IMAGE_VARIATION", "imageVariationParams") if order.inputs else ("TEXT_IMAGE", "textToImageParams")
    if order.inputs:
        words["images"] = [input_images.encoded(data) for data in order.inputs]
    given = request.options
    return {
        **given,
        "taskType": task,
        field: {**_object(given, field), **words},
        "imageGenerationConfig": {**_object(given, "imageGenerationConfig"), **config},
    }


def _stability(order: Order, request: Request, seed: int) -> dict[str, Any]:
    fields = _given(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        aspect_ratio=request.aspect_ratio,
        output_format=request.output_format,
        seed=seed,
    )
    if not order.inputs:
        return {**request.options, **fields}
    image = {"mode": "image-to-image", "image": input_images.encoded(order.inputs[0])}
    return {"strength": STRENGTH, **request.options, **fields, **image}


def images_of(told: Mapping[str, Any], *, seed: int | None) -> tuple[ImageSource, ...]:
    """The images of an answer; the seed of one alone is what it says, or `seed`."""
    listed, seeds = told.get("images"), told.get("seeds")
    texts = [one for one in listed if isinstance(one, str) and one] if isinstance(listed, list) else []
    if len(texts) != 1:
        return tuple(ImageSource(base64=text) for text in texts)
    first = seeds[0] if isinstance(seeds, list) and seeds else None
    return (ImageSource(base64=texts[0], seed=first if type(first) is int and first >= 0 else seed),)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _object(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    return value if isinstance(value, dict) else {}
