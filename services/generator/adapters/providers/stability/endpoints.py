"""The Stable Image endpoints of Stability AI's API v2beta: what each takes, by the vendor's OpenAPI document."""

from dataclasses import dataclass, replace

from services.generator.adapters.providers.entry import OutputFormat


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint. `prompt` is the field that the words go into; None where it reads none."""

    prompt: str | None = "prompt"
    #: The fields of the input images in their order, and how many of them there have to be.
    images: tuple[str, ...] = ()
    fewest_images: int = 0
    mask: bool = False
    negative_prompt: bool = True
    seed: bool = True
    aspect_ratio: bool = False
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    #: With an image it has to be told how much of it may change.
    strength: bool = False
    #: Whether it answers with an id, by which the image is fetched later.
    is_async: bool = False


_ON_PICTURE = Endpoint(images=("image",), fewest_images=1)
_WITHOUT_WORDS = replace(_ON_PICTURE, prompt=None, negative_prompt=False)
#: By their path below `stable-image`.
ENDPOINTS = {
    "generate/core": Endpoint(aspect_ratio=True),
    "generate/ultra": Endpoint(images=("image",), aspect_ratio=True, strength=True),
    "generate/sd3": Endpoint(images=("image",), aspect_ratio=True, strength=True, output_formats=("png", "jpeg")),
    "edit/erase": replace(_WITHOUT_WORDS, mask=True),
    "edit/inpaint": replace(_ON_PICTURE, mask=True),
    "edit/outpaint": replace(_ON_PICTURE, negative_prompt=False),
    "edit/search-and-replace": _ON_PICTURE,
    "edit/search-and-recolor": _ON_PICTURE,
    "edit/remove-background": replace(_WITHOUT_WORDS, seed=False, output_formats=("png", "webp")),
    "edit/replace-background-and-relight": Endpoint(
        prompt="background_prompt", images=("subject_image", "background_reference"), fewest_images=1, is_async=True
    ),
    "control/sketch": _ON_PICTURE,
    "control/structure": _ON_PICTURE,
    "control/style": replace(_ON_PICTURE, aspect_ratio=True),
    "control/style-transfer": Endpoint(images=("init_image", "style_image"), fewest_images=2),
    "upscale/fast": replace(_WITHOUT_WORDS, seed=False),
    "upscale/conservative": _ON_PICTURE,
    "upscale/creative": replace(_ON_PICTURE, is_async=True),
}


def endpoint_of(model: str) -> tuple[str, str]:
    """The path of a model's endpoint, and what its field `model` says: `core`, `sd3/NAME`, `edit/inpaint`."""
    first, _, rest = model.partition("/")
    return (f"generate/{first}", rest) if first in ("core", "ultra", "sd3") else (model, "")
