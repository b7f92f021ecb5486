"""Pipelines of the library diffusers: loaded from a folder, or from the hub where that is allowed.

The libraries are an extra, large and slow to import: that happens with the first drawing, in its thread.
"""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from PIL import Image

from services.generator.adapters.diffusion import Drawing, Flagged, ModelUnusable, Unsupported
from services.generator.adapters.provider_entries import DiffusersSettings

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "safetensors")
_WORDS = 500


def missing_libraries() -> list[str]:
    """Those of the extra that are not installed; nothing is imported."""
    return [name for name in LIBRARIES if find_spec(name) is None]


class TorchPipeline:
    """A text-to-image pipeline on its device. The same seed, prompt and size give the same picture there."""

    def __init__(self, pipe: Any, settings: DiffusersSettings) -> None:
        self._pipe = pipe
        self._settings = settings
        self._torch: Any = import_module("torch")
        self._takes = frozenset(inspect.signature(pipe.__call__).parameters)

    def __call__(self, drawing: Drawing, step: Callable[[float], None]) -> Sequence[Image.Image]:
        """The images, one for each seed. Raises `Unsupported`, `Flagged`, and what `step` raises."""
        arguments = self._arguments(drawing)
        if unknown := sorted(set(arguments) - self._takes):
            raise Unsupported(f"its pipeline takes no {', '.join(unknown)}")
        # A pipeline without it draws to its end, unseen.
        watched = {"callback_on_step_end": self._watched_by(step)} if "callback_on_step_end" in self._takes else {}
        try:
            made = self._pipe(**arguments, **watched)
        except ValueError as error:
            raise Unsupported(str(error)[:_WORDS]) from error
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise Flagged("The safety checker of the model withheld a picture.")
        images: Sequence[Image.Image] = made.images
        return images

    def _arguments(self, drawing: Drawing) -> dict[str, Any]:
        # A seed means the same picture only where the noise is always made by the processor.
        generators = [self._torch.Generator(device="cpu").manual_seed(seed) for seed in drawing.seeds]
        width, height = drawing.size or (None, None)
        given = {
            "negative_prompt": drawing.negative_prompt,
            "width": width,
            "height": height,
            "num_inference_steps": self._settings.steps,
            "guidance_scale": self._settings.guidance_scale,
            "num_images_per_prompt": len(generators) if len(generators) > 1 else None,
        }
        told = {name: value for name, value in given.items() if value is not None}
        return {"prompt": drawing.prompt, "generator": generators} | told

    def _watched_by(self, step: Callable[[float], None]) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
        def callback(pipe: Any, number: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            steps = getattr(pipe, "num_timesteps", None) or self._settings.steps
            # To decode the picture is one more. Raising ends the drawing, where the library's own way to interrupt
            # would decode a picture that nobody wants.
            step(min((number + 1) / (steps + 1), 1.0) if steps else 0.0)
            return kept

        return callback


def load(settings: DiffusersSettings) -> TorchPipeline:
    """The pipeline, on its device. Raises `ModelUnusable`, and `RuntimeError` where the memory does not suffice."""
    try:
        torch, diffusers = import_module("torch"), import_module("diffusers")
        broken: type[Exception] = import_module("safetensors").SafetensorError
    except (ImportError, OSError) as error:
        raise ModelUnusable(f"The extra does not import: {error}"[:_WORDS]) from error
    device = _device(torch, settings.device)
    # Its bars are for a terminal.
    diffusers.utils.logging.disable_progress_bar()
    try:
        pipe = diffusers.AutoPipelineForText2Image.from_pretrained(
            str(settings.folder or settings.path),
            dtype=_dtype(torch, settings.dtype, device),
            local_files_only=not settings.download,
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, broken) as error:
        raise ModelUnusable(f"The model does not load: {error}"[:_WORDS]) from error
    pipe.set_progress_bar_config(disable=True)
    return TorchPipeline(pipe.to(device), settings)


def _device(torch: Any, wanted: str) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[wanted]:
        raise ModelUnusable(f"There is no device {wanted} here.")
    return wanted


def _dtype(torch: Any, wanted: str, device: str) -> Any:
    """Half of the bits where the device is made for them."""
    return getattr(torch, wanted if wanted != "auto" else "float32" if device == "cpu" else "float16")
