"""Provider-file entry of the kind `diffusers`."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import Entry
from services.generator.adapters.providers.entry_fields import Strict
from services.generator.adapters.providers.option_rules import Rules, integer, number

#: Pixels; in smaller images nothing can be recognised.
SHORTEST_SIDE = 64
#: Prefixes of the environment variables that the libraries read.
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


def local_path(path: str) -> Path | None:
    """Returns the path of a local file or folder; None for an `owner/name` that is no local file: it is on the hub."""
    local = Path(path).expanduser()
    return None if _HUB_ID.fullmatch(path) and path[0] not in ".~" and not local.exists() else local


class Lora(Strict):
    """A LoRA adapter that is loaded onto the model."""

    path: str = Field(min_length=1, max_length=1000)
    """A file, a folder, or `owner/name` on the Hugging Face hub."""
    weight_name: str | None = Field(default=None, min_length=1, max_length=200)
    """The adapter's file in the folder or on the hub; needed if there are several."""
    weight: float = Field(default=1.0, ge=-10, le=10)
    """How strongly the adapter counts; 1 is fully."""

    @property
    def local_path(self) -> Path | None:
        """The file or folder that `path` names; None for an adapter on the hub."""
        return local_path(self.path)


class DiffusersSettings(Strict):
    """The model, the device it runs on, and the limits of requests."""

    path: str = Field(min_length=1, max_length=1000)
    """The model: a folder with `model_index.json`, or `owner/name` on the Hugging Face hub."""
    download: bool = False
    """Whether a model or adapter on the hub is downloaded if it is not in the local cache."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device that draws; `auto`: the first available of `cuda`, `mps` and `cpu`."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Type of the model's numbers; `auto`: `float32` on the CPU, `float16` elsewhere."""
    steps: int | None = Field(default=None, ge=1, le=500)
    """Steps of jobs that give none; left out, the pipeline's default."""
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    """Guidance scale of jobs that give none; left out, the pipeline's default."""
    max_steps: int = Field(default=100, ge=1, le=500)
    """Largest value of a job's option `steps`."""
    loras: tuple[Lora, ...] = Field(default=(), max_length=20)
    """LoRA adapters that are loaded onto the model."""
    image_to_image: bool = False
    """Whether jobs may have an input image to start from."""
    inpainting: bool = False
    """Whether jobs may have an input image and a mask of the area to redraw."""
    negative_prompt: bool = True
    """Whether the pipeline uses a negative prompt; those of distilled models do not."""
    max_side: int = Field(default=1024, ge=SHORTEST_SIDE, le=4096)
    """Longest side in pixels."""
    side_multiple: int = Field(default=8, ge=1, le=256)
    """Sides must be a multiple of this many pixels: 16 for Flux and Stable Diffusion 3."""
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    """Most images of one call; more need more memory."""

    @model_validator(mode="after")
    def _some_size_fits(self) -> "DiffusersSettings":
        if self.min_side > self.max_side:
            raise ValueError(f"side_multiple has no multiple between {SHORTEST_SIDE} and max_side")
        return self

    @property
    def min_side(self) -> int:
        """Shortest side in pixels that is a multiple of `side_multiple`."""
        return -(-SHORTEST_SIDE // self.side_multiple) * self.side_multiple

    def size_near(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the nearest width and height within the limits, of about the same ratio."""
        scale = min(1.0, self.max_side / max(size))
        largest = self.max_side // self.side_multiple * self.side_multiple
        width, height = (
            min(max(round(side * scale / self.side_multiple) * self.side_multiple, self.min_side), largest)
            for side in size
        )
        return width, height

    @property
    def uses_negative_prompt(self) -> bool:
        """Whether a negative prompt has an effect; without guidance (1 or less) it has none."""
        return self.negative_prompt and (self.guidance_scale is None or self.guidance_scale > 1)

    @property
    def folder(self) -> Path | None:
        """The folder that `path` names; None for a model on the hub."""
        return local_path(self.path)

    @property
    def accepts_images(self) -> bool:
        """Whether a job may have an input image."""
        return self.image_to_image or self.inpainting


class DiffusersEntry(Entry):
    """A model that runs on this machine's GPU or CPU."""

    kind: Literal["diffusers"]
    """The kind of the provider."""
    max_concurrency: int = Field(default=1, ge=0)
    """Most calls at a time over all generators; the device draws one at a time."""
    settings: DiffusersSettings
    """Settings of the kind."""

    @model_validator(mode="after")
    def _has_one_model(self) -> "DiffusersEntry":
        if len(self.models) > 1:
            raise ValueError("an entry has one model, that of settings.path: write an entry for each model")
        return self

    def _known_options(self) -> Rules:
        """Rules of the options that pipelines have; a pipeline without one of them refuses it."""
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
        """Environment variables that the libraries read: for caches, the hub and the device."""
        return frozenset({"XDG_CACHE_HOME"} | {f"{library}_*" for library in _LIBRARIES})

    @property
    def credential_variables(self) -> frozenset[str]:
        """Variables with tokens for the hub."""
        return frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})

    @property
    def model_names(self) -> tuple[str, ...]:
        """The only model."""
        return (self.model,)

    def has_model(self, name: str) -> bool:
        """Returns True: with one model, jobs that wait stay valid when the file renames it."""
        return True

    @property
    def model(self) -> str:
        """The only model; its name is a label and selects nothing."""
        return self.default_model or (self.models[0].name if self.models else Path(self.settings.path).name)
