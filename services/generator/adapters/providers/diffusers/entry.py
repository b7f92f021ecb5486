"""Entries of the kind `diffusers`."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import Entry, Strict
from services.generator.adapters.providers.option_rules import Rules, integer, number

#: Below this, models show nothing that could be recognised.
SHORTEST_SIDE = 64
#: What variables of the libraries begin with.
_LIBRARIES = (
    *(
        "HF",
        "HUGGINGFACE",
        "HUGGING_FACE",
        "TRANSFORMERS",
        "DIFFUSERS",
        "ACCELERATE",
        "PEFT",
        "TORCH",
        "PYTORCH",
        "OMP",
        "MKL",
    ),
    *("CUDA", "CUBLAS", "CUDNN", "NCCL", "NVIDIA", "HIP", "HSA", "ROCR"),
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def place_of(path: str) -> Path | None:
    """The file or folder of that name; None where it can only be a name on the hub."""
    place = Path(path).expanduser()
    return None if _HUB_ID.fullmatch(path) and path[0] not in ".~" and not place.exists() else place


class Lora(Strict):
    """An adapter that is put onto the model: a file, a folder, or `owner/name` on the hub."""

    path: str = Field(min_length=1, max_length=1000)
    #: The file in a folder or on the hub, where there are several.
    weight_name: str | None = Field(default=None, min_length=1, max_length=200)
    weight: float = Field(default=1.0, ge=-10, le=10)

    @property
    def place(self) -> Path | None:
        """The file or folder that `path` names; None where it names an adapter of the hub."""
        return place_of(self.path)


class DiffusersSettings(Strict):
    """The model, where it runs, and how far it may go; what is left out is the pipeline's own choice."""

    #: A folder with `model_index.json`, or `owner/name` on the hub.
    path: str = Field(min_length=1, max_length=1000)
    download: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    steps: int | None = Field(default=None, ge=1, le=500)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    #: The most that a job may ask for by the option `steps`.
    max_steps: int = Field(default=100, ge=1, le=500)
    loras: tuple[Lora, ...] = Field(default=(), max_length=20)
    #: Whether the model's pipeline can begin with a picture, and draw a part of one anew.
    image_to_image: bool = False
    inpainting: bool = False
    #: Whether the pipeline heeds one; those of distilled models do not.
    negative_prompt: bool = True
    max_side: int = Field(default=1024, ge=SHORTEST_SIDE, le=4096)
    side_multiple: int = Field(default=8, ge=1, le=256)
    max_images_per_call: int = Field(default=1, ge=1, le=10)

    @model_validator(mode="after")
    def _some_size_fits(self) -> "DiffusersSettings":
        if self.min_side > self.max_side:
            raise ValueError(f"no multiple of side_multiple lies between {SHORTEST_SIDE} and max_side")
        return self

    @property
    def min_side(self) -> int:
        """The shortest side that is a multiple."""
        return -(-SHORTEST_SIDE // self.side_multiple) * self.side_multiple

    def size_near(self, size: tuple[int, int]) -> tuple[int, int]:
        """The nearest size within the limits, of about the same shape."""
        scale = min(1.0, self.max_side / max(size))
        most = self.max_side // self.side_multiple * self.side_multiple
        width, height = (
            min(max(round(side * scale / self.side_multiple) * self.side_multiple, self.min_side), most)
            for side in size
        )
        return width, height

    @property
    def heeds_negative_prompt(self) -> bool:
        """Without guidance nothing steers away from anything."""
        return self.negative_prompt and (self.guidance_scale is None or self.guidance_scale > 1)

    @property
    def folder(self) -> Path | None:
        """The folder that `path` names; None where it names a model of the hub."""
        return place_of(self.path)

    @property
    def takes_pictures(self) -> bool:
        """Whether a job may bring one."""
        return self.image_to_image or self.inpainting


class DiffusersEntry(Entry):
    """A model on this machine's own device."""

    kind: Literal["diffusers"]
    #: Calls queue for the one device: more at once would only wait.
    max_concurrency: int = Field(default=1, ge=0)
    settings: DiffusersSettings

    @model_validator(mode="after")
    def _has_one_model(self) -> "DiffusersEntry":
        if len(self.models) > 1:
            raise ValueError("has one model, that of settings.path; make an entry for each other one")
        return self

    def _known_options(self) -> Rules:
        """What the pipelines take as well, if the model's own does."""
        return {
            "steps": integer(1, self.settings.max_steps),
            "guidance_scale": number(0, 100),
            "strength": number(0.01, 1),
            "true_cfg_scale": number(0, 100),
            "guidance_rescale": number(0, 1),
            "eta": number(0, 1),
        }

    @property
    def variables(self) -> frozenset[str]:
        """What the libraries find models, their hub and the device by."""
        return frozenset({"XDG_CACHE_HOME"} | {f"{library}_*" for library in _LIBRARIES})

    @property
    def credential_variables(self) -> frozenset[str]:
        """What is shown to the hub."""
        return frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})

    @property
    def model_names(self) -> tuple[str, ...]:
        """The one model."""
        return (self.model,)

    def has_model(self, name: str) -> bool:
        """There is one, so jobs that wait outlive another name for it."""
        return True

    @property
    def model(self) -> str:
        """The one model; its name is for people only."""
        return self.default_model or (self.models[0].name if self.models else Path(self.settings.path).name)
