"""Pipelines of the library diffusers, loaded from a folder, or from the hub if that is allowed.

The libraries are an extra, large and slow to import: the first drawing imports them in its thread.
"""

import inspect
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from PIL import Image

from services.generator.adapters.providers.diffusers.entry import DiffusersSettings
from services.generator.adapters.providers.diffusers.pipeline_thread import Drawing, Flagged, ModelUnusable, Unsupported

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "safetensors")
MAX_MESSAGE_CHARACTERS = 500
_SIDES = ("width", "height")


def missing_libraries(settings: DiffusersSettings) -> list[str]:
    """Returns the libraries that an entry needs and that are not installed; imports nothing."""
    needed = (*LIBRARIES, "peft") if settings.loras else LIBRARIES
    return [name for name in needed if find_spec(name) is None]


class TorchPipeline:
    """A text-to-image pipeline on its device. The same seed, prompt and size repeat the image on that device."""

    def __init__(self, pipe: Any, settings: DiffusersSettings) -> None:
        #: Pipelines by diffusers' name of their task; empty is text to image, from which the others are made.
        self._pipes = {"": pipe}
        self._settings = settings
        self._torch: Any = import_module("torch")

    def __call__(self, drawing: Drawing, step: Callable[[float], None]) -> Sequence[Image.Image]:
        """Returns the images, one for each seed. Raises `Unsupported`, `Flagged`, and what `step` raises."""
        way = "" if drawing.image is None else "Image2Image" if drawing.mask is None else "Inpainting"
        pipe = self._pipeline_for(way)
        parameters = frozenset(inspect.signature(pipe.__call__).parameters)
        arguments = self._arguments(drawing)
        if drawing.image is not None:
            arguments |= self._image_arguments(drawing, drawing.image, parameters)
        if unknown := sorted(set(arguments) - parameters):
            raise Unsupported(f"its pipeline has no {', '.join(unknown)}")
        # A pipeline without a callback draws to its end, without progress.
        watched = {"callback_on_step_end": self._watched_by(step)} if "callback_on_step_end" in parameters else {}
        try:
            made = pipe(**arguments, **watched)
        except ValueError as error:
            raise Unsupported(str(error)[:MAX_MESSAGE_CHARACTERS]) from error
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise Flagged("The safety checker of the model withheld an image.")
        images: Sequence[Image.Image] = made.images
        return images

    def _pipeline_for(self, way: str) -> Any:
        """Returns the pipeline of a task, with shared parts. Raises `Unsupported` if the model has no such pipeline."""
        if way not in self._pipes:
            kind = getattr(import_module("diffusers"), f"AutoPipelineFor{way}")
            try:
                self._pipes[way] = kind.from_pipe(self._pipes[""])
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise Unsupported(f"its model has no pipeline for {way}") from error
            self._pipes[way].set_progress_bar_config(disable=True)
        return self._pipes[way]

    def _image_arguments(self, drawing: Drawing, image: Image.Image, parameters: Collection[str]) -> dict[str, Any]:
        """Returns the arguments for the input image and the mask."""
        arguments = {"image": image} | ({} if drawing.mask is None else {"mask_image": drawing.mask})
        # Some pipelines take the size from the image.
        return arguments | {name: side for name, side in zip(_SIDES, image.size, strict=True) if name in parameters}

    def _arguments(self, drawing: Drawing) -> dict[str, Any]:
        # A seed repeats an image only if the noise is always made by the CPU.
        generators = [self._torch.Generator(device="cpu").manual_seed(seed) for seed in drawing.seeds]
        sides = dict(zip(_SIDES, drawing.size or (None, None), strict=True)) if drawing.image is None else {}
        configured = {
            **sides,
            "negative_prompt": drawing.negative_prompt,
            "num_inference_steps": self._settings.steps,
            "guidance_scale": self._settings.guidance_scale,
            "num_images_per_prompt": len(generators) if len(generators) > 1 else None,
        }
        arguments = {name: value for name, value in configured.items() if value is not None}
        return {"prompt": drawing.prompt, "generator": generators} | arguments | dict(drawing.arguments)

    def _watched_by(self, step: Callable[[float], None]) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
        def callback(pipe: Any, number: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            steps = getattr(pipe, "num_timesteps", None) or self._settings.steps
            # Decoding the image is one more step. Raising here ends the drawing at once; the library's own interrupt
            # would still decode an image that is no longer wanted.
            step(min((number + 1) / (steps + 1), 1.0) if steps else 0.0)
            return kept

        return callback


def load(settings: DiffusersSettings) -> TorchPipeline:
    """Returns the pipeline on its device. Raises `ModelUnusable`, and `RuntimeError` without enough memory."""
    try:
        torch, diffusers = import_module("torch"), import_module("diffusers")
        broken: type[Exception] = import_module("safetensors").SafetensorError
    except (ImportError, OSError) as error:
        raise ModelUnusable(f"The libraries cannot be imported: {error}"[:MAX_MESSAGE_CHARACTERS]) from error
    device = _device(torch, settings.device)
    # Progress bars are for a terminal.
    diffusers.utils.logging.disable_progress_bar()
    try:
        pipe = diffusers.AutoPipelineForText2Image.from_pretrained(
            str(settings.folder or settings.path),
            dtype=_dtype(torch, settings.dtype, device),
            local_files_only=not settings.download,
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, broken) as error:
        raise ModelUnusable(f"The model cannot be loaded: {error}"[:MAX_MESSAGE_CHARACTERS]) from error
    pipe.set_progress_bar_config(disable=True)
    _load_loras(pipe, settings, broken)
    return TorchPipeline(pipe.to(device), settings)


def _load_loras(pipe: Any, settings: DiffusersSettings, broken: type[Exception]) -> None:
    """Loads the entry's LoRA adapters with their weights. Raises `ModelUnusable`."""
    names = [f"lora_{number}" for number in range(len(settings.loras))]
    for name, lora in zip(names, settings.loras, strict=True):
        arguments = {"weight_name": lora.weight_name} if lora.weight_name else {}
        try:
            pipe.load_lora_weights(
                str(lora.local_path or lora.path),
                adapter_name=name,
                local_files_only=not settings.download,
                **arguments,
            )
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RuntimeError,
            ImportError,
            broken,
        ) as error:
            raise ModelUnusable(f"The LoRA {lora.path} cannot be loaded: {error}"[:MAX_MESSAGE_CHARACTERS]) from error
    if names:
        pipe.set_adapters(names, [lora.weight for lora in settings.loras])


def _device(torch: Any, wanted: str) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[wanted]:
        raise ModelUnusable(f"This machine has no device {wanted}.")
    return wanted


def _dtype(torch: Any, wanted: str, device: str) -> Any:
    """Returns torch's type; `auto` is float16, except on the CPU, which is slow with it."""
    return getattr(torch, wanted if wanted != "auto" else "float32" if device == "cpu" else "float16")
