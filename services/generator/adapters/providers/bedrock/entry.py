"""Entries of the kind `bedrock`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import OutputFormat, Ratio, RemoteEntry, Size, Strict
from services.generator.adapters.providers.option_rules import Rules, number, one_of

Family = Literal["nova", "titan", "stability"]


@dataclass(frozen=True, kw_only=True)
class ModelLimits:
    """What the models of a family take by the vendor's reference."""

    in_name: str
    max_images_per_call: int = 1
    sizes: tuple[str, ...] = ()
    sides: tuple[int, int, int] = (0, 0, 0)
    aspect_ratios: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    output_formats: tuple[OutputFormat, ...] = ()
    max_input_images: int = 0
    most_input_images: int = 1
    max_prompt_characters: int


#: https://docs.aws.amazon.com/nova/latest/userguide/image-gen-req-resp-structure.html,
#: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-image.html and
#: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-stability-diffusion.html
FAMILIES: Mapping[Family, ModelLimits] = {
    "nova": ModelLimits(
        in_name="amazon.nova-canvas",
        max_images_per_call=5,
        # No picture of two such sides has the 4,194,304 pixels that it must have less of.
        sides=(320, 2032, 16),
        qualities=("standard", "premium"),
        max_input_images=5,
        most_input_images=5,
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
        most_input_images=5,
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
#: Options that jobs may set, by the vendor's references of the bodies.
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
    """Where the models are, how requests are signed, and what the models take; by default, what their family takes."""

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d{1,2}$")
    #: `key`: a Bedrock API key. `iam`: signatures with the AWS credentials that this process finds.
    auth: Literal["key", "iam"] = "key"
    #: For models whose names do not tell: ARNs of inference profiles and of throughput that was bought.
    family: Family | None = None
    max_images_per_call: int | None = Field(default=None, ge=1, le=5)
    sizes: tuple[Size, ...] = ()
    aspect_ratios: tuple[Ratio, ...] = ()
    max_input_images: int | None = Field(default=None, ge=0, le=5)


class BedrockEntry(RemoteEntry):
    """Image models on Amazon Bedrock, all of one family."""

    kind: Literal["bedrock"]
    settings: BedrockSettings

    @model_validator(mode="after")
    def _models_fit(self) -> "BedrockEntry":
        names = [*(one.name for one in self.models), *([self.default_model] if self.default_model else [])]
        for name in names:
            if not _MODEL.fullmatch(name) or ".." in name:
                raise ValueError(f"{name!r} is no id of a model and no ARN")
            if self.settings.family is None and _family_of(name) is None:
                raise ValueError(f"settings.family must say what {name!r} is: {', '.join(FAMILIES)}")
        if self.settings.family is None and len({_family_of(name) for name in names}) > 1:
            raise ValueError("the models are of several families, which take different things: make an entry for each")
        most = FAMILIES[self.family]
        if (self.settings.max_images_per_call or 1) > most.max_images_per_call:
            raise ValueError(f"settings.max_images_per_call: {self.family} makes {most.max_images_per_call} at most")
        if (self.settings.max_input_images or 0) > most.most_input_images:
            raise ValueError(f"settings.max_input_images: {self.family} takes {most.most_input_images} at most")
        return self

    @model_validator(mode="after")
    def _credential_fits(self) -> "BedrockEntry":
        if self.settings.auth == "iam" and (self.api_key_env or self.api_key_file):
            raise ValueError("settings.auth iam takes no api_key_env and no api_key_file")
        return self

    def _known_options(self) -> Rules:
        return _OPTIONS[self.family]

    @property
    def family(self) -> Family:
        """What the models are."""
        return self.settings.family or _family_of(self.model) or "nova"

    def takes_model(self, name: str) -> bool:
        """Whether a job may name it: an id of a model of this family."""
        known = self.settings.family or _family_of(name)
        return _MODEL.fullmatch(name) is not None and ".." not in name and known == self.family

    @property
    def variables(self) -> frozenset[str]:
        """What botocore finds credentials by where requests are signed."""
        return frozenset({"AWS_*"}) if self.settings.auth == "iam" else super().variables

    def api_key(self, environ: Mapping[str, str]) -> str:
        """The API key; empty where requests are signed. Raises `ConfigError`."""
        return "" if self.settings.auth == "iam" else super().api_key(environ)


def _family_of(model: str) -> Family | None:
    """By the model's id, with or without the region of an inference profile in front."""
    return next((family for family, told in FAMILIES.items() if told.in_name in model), None)
