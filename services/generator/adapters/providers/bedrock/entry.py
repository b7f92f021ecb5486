"""Provider-file entry of the kind `bedrock`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import OutputFormat, Ratio, Size, Strict
from services.generator.adapters.providers.option_rules import Rules, number, one_of

Family = Literal["nova", "titan", "stability"]


@dataclass(frozen=True, kw_only=True)
class ModelLimits:
    """What the models of a family support by AWS's reference."""

    in_name: str
    """Text in the id of every model of the family."""
    max_images_per_call: int = 1
    """Most images of one call."""
    sizes: tuple[str, ...] = ()
    """The only sizes, as WIDTHxHEIGHT; empty if `sides` bounds them, or no size can be chosen."""
    sides: tuple[int, int, int] = (0, 0, 0)
    """Shortest side, longest side and the multiple of both, in pixels; zeros if no side can be chosen."""
    aspect_ratios: tuple[str, ...] = ()
    """Ratios that a job may choose."""
    qualities: tuple[str, ...] = ()
    """Qualities that a job may choose."""
    output_formats: tuple[OutputFormat, ...] = ()
    """Formats that a job may choose."""
    max_input_images: int = 0
    """Most input images of a job if the settings have no limit."""
    input_images_limit: int = 1
    """Largest value of the setting `max_input_images`."""
    max_prompt_characters: int
    """Longest prompt, in characters."""


#: Sources: https://docs.aws.amazon.com/nova/latest/userguide/image-gen-req-resp-structure.html,
#: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-image.html and
#: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-stability-diffusion.html
FAMILIES: Mapping[Family, ModelLimits] = {
    "nova": ModelLimits(
        in_name="amazon.nova-canvas",
        max_images_per_call=5,
        # An image must have less than 4,194,304 pixels; 2032 x 2032 has.
        sides=(320, 2032, 16),
        qualities=("standard", "premium"),
        max_input_images=5,
        input_images_limit=5,
        max_prompt_characters=1024,
    ),
    "titan": ModelLimits(
        in_name="amazon.titan-image-generator",
        max_images_per_call=5,
        sizes=(
            "1024x1024", "768x768", "512x512", "768x1152", "384x576", "1152x768", "576x384", "768x1280", "384x640",
            "1280x768", "640x384", "896x1152", "448x576", "1152x896", "576x448", "768x1408", "384x704", "1408x768",
            "704x384", "640x1408", "320x704", "1408x640", "704x320", "1152x640", "1173x640",
        ),
        qualities=("standard", "premium"),
        max_input_images=5,
        input_images_limit=5,
        max_prompt_characters=512,
    ),
    "stability": ModelLimits(
        in_name="stability.",
        aspect_ratios=("1:1", "16:9", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"),
        output_formats=("png", "jpeg"),
        max_prompt_characters=10_000,
    ),
}  # fmt: skip
_OF_AMAZON: Rules = {
    "imageGenerationConfig.cfgScale": number(1.1, 10),
    "imageVariationParams.similarityStrength": number(0.2, 1),
}
#: Options that jobs may set, by AWS's references of the request bodies.
_OPTIONS: Mapping[Family, Rules] = {
    "nova": {
        **_OF_AMAZON,
        "textToImageParams.style": one_of(
            "3D_ANIMATED_FAMILY_FILM", "DESIGN_SKETCH", "FLAT_VECTOR_ILLUSTRATION", "GRAPHIC_NOVEL_ILLUSTRATION",
            "MAXIMALISM", "MIDCENTURY_RETRO", "PHOTOREALISM", "SOFT_DIGITAL_PAINTING",
        ),
    },
    "titan": _OF_AMAZON,
    "stability": {"strength": number(0, 1)},
}  # fmt: skip
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,2047}")


class BedrockSettings(Strict):
    """The region, the credential, and what the models support; a limit left out is that of the models' family."""

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d{1,2}$")
    """AWS region, such as us-east-1; `base_url` defaults to its endpoint."""
    auth: Literal["key", "iam"] = "key"
    """`key`: a Bedrock API key. `iam`: requests are signed with the AWS credentials that the process finds."""
    family: Family | None = None
    """Family of the models; needed for ARNs of inference profiles and provisioned throughput, which do not show it."""
    max_images_per_call: int | None = Field(default=None, ge=1, le=5)
    """Most images of one call."""
    sizes: tuple[Size, ...] = ()
    """The only sizes that jobs may choose; empty, the family's."""
    aspect_ratios: tuple[Ratio, ...] = ()
    """Ratios that jobs may choose; empty, the family's."""
    max_input_images: int | None = Field(default=None, ge=0, le=5)
    """Most input images of a job; 1 for Stability's models that change an image (SD3.5 Large)."""


class BedrockEntry(RemoteEntry):
    """Image models on Amazon Bedrock, all of one family."""

    kind: Literal["bedrock"]
    """The kind of the provider."""
    settings: BedrockSettings
    """Settings of the kind."""

    @model_validator(mode="after")
    def _models_fit(self) -> "BedrockEntry":
        names = [*(model.name for model in self.models), *([self.default_model] if self.default_model else [])]
        for name in names:
            if not _MODEL.fullmatch(name) or ".." in name:
                raise ValueError(f"{name!r} is neither the id of a model nor an ARN")
            if self.settings.family is None and _family_of(name) is None:
                raise ValueError(f"settings.family must name the family of {name!r}: {', '.join(FAMILIES)}")
        if self.settings.family is None and len({_family_of(name) for name in names}) > 1:
            raise ValueError("the models are of several families, which have different limits: write an entry for each")
        limits = FAMILIES[self.family]
        if (self.settings.max_images_per_call or 1) > limits.max_images_per_call:
            raise ValueError(
                f"settings.max_images_per_call must be at most {limits.max_images_per_call}, the limit of {self.family}"
            )
        if (self.settings.max_input_images or 0) > limits.input_images_limit:
            raise ValueError(
                f"settings.max_input_images must be at most {limits.input_images_limit}, the limit of {self.family}"
            )
        return self

    @model_validator(mode="after")
    def _credential_fits(self) -> "BedrockEntry":
        if self.settings.auth == "iam" and (self.api_key_env or self.api_key_file):
            raise ValueError("settings.auth: iam excludes api_key_env and api_key_file")
        return self

    def _known_options(self) -> Rules:
        return _OPTIONS[self.family]

    @property
    def family(self) -> Family:
        """Family of the entry's models."""
        return self.settings.family or _family_of(self.model) or "nova"

    def accepts_model(self, name: str) -> bool:
        """Returns whether a job may name the model: the id or ARN of a model of this family."""
        known = self.settings.family or _family_of(name)
        return _MODEL.fullmatch(name) is not None and ".." not in name and known == self.family

    @property
    def variables(self) -> frozenset[str]:
        """Environment variables of the key, or those by which botocore finds AWS credentials."""
        return frozenset({"AWS_*"}) if self.settings.auth == "iam" else super().variables

    def api_key(self, environ: Mapping[str, str]) -> str:
        """Returns the API key; empty with `auth: iam`. Raises `ConfigError`."""
        return "" if self.settings.auth == "iam" else super().api_key(environ)


def _family_of(model: str) -> Family | None:
    """Returns the family by the model's id, also with the region of an inference profile in front; None if unknown."""
    return next((family for family, limits in FAMILIES.items() if limits.in_name in model), None)
