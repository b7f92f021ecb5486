"""The Stable Image endpoints of Stability AI's API v2beta, by its OpenAPI document."""

from dataclasses import dataclass, replace

from services.generator.adapters.providers.entry_fields import OutputFormat


@dataclass(frozen=True, kw_only=True)
class StabilityEndpoint:
    """What one endpoint accepts and returns."""

    prompt: str | None = "prompt"
    """Field of the prompt; None if the endpoint reads none."""
    images: tuple[str, ...] = ()
    """Fields of the input images, in their order."""
    min_images: int = 0
    """Number of input images that are required."""
    mask: bool = False
    """Whether it accepts a mask."""
    negative_prompt: bool = True
    """Whether it accepts a negative prompt."""
    seed: bool = True
    """Whether it accepts a seed."""
    aspect_ratio: bool = False
    """Whether it accepts a ratio."""
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    """Formats that it returns."""
    strength: bool = False
    """Whether a request with an input image must have a `strength`: how much of the image may change."""
    is_async: bool = False
    """Whether it returns an id, by which the image is fetched later."""


_ON_IMAGE = StabilityEndpoint(images=("image",), min_images=1)
_WITHOUT_PROMPT = replace(_ON_IMAGE, prompt=None, negative_prompt=False)
#: Endpoints by their path below `stable-image`.
ENDPOINTS = {
    "generate/core": StabilityEndpoint(aspect_ratio=True),
    "generate/ultra": StabilityEndpoint(images=("image",), aspect_ratio=True, strength=True),
    "generate/sd3": StabilityEndpoint(
        images=("image",), aspect_ratio=True, strength=True, output_formats=("png", "jpeg")
    ),
    "edit/erase": replace(_WITHOUT_PROMPT, mask=True),
    "edit/inpaint": replace(_ON_IMAGE, mask=True),
    "edit/outpaint": replace(_ON_IMAGE, negative_prompt=False),
    "edit/search-and-replace": _ON_IMAGE,
    "edit/search-and-recolor": _ON_IMAGE,
    "edit/remove-background": replace(_WITHOUT_PROMPT, seed=False, output_formats=("png", "webp")),
    "edit/replace-background-and-relight": StabilityEndpoint(
        prompt="background_prompt", images=("subject_image", "background_reference"), min_images=1, is_async=True
    ),
    "control/sketch": _ON_IMAGE,
    "control/structure": _ON_IMAGE,
    "control/style": replace(_ON_IMAGE, aspect_ratio=True),
    "control/style-transfer": StabilityEndpoint(images=("init_image", "style_image"), min_images=2),
    "upscale/fast": replace(_WITHOUT_PROMPT, seed=False),
    "upscale/conservative": _ON_IMAGE,
    "upscale/creative": replace(_ON_IMAGE, is_async=True),
}


def endpoint_of(model: str) -> tuple[str, str]:
    """Returns the endpoint's path and the value of its field `model` (may be empty): for `core`, `sd3/NAME`, ..."""
    first, _, rest = model.partition("/")
    return (f"generate/{first}", rest) if first in ("core", "ultra", "sd3") else (model, "")
