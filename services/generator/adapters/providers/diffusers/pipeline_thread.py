"""Drawing with a diffusion pipeline in one thread: a pipeline is loaded once and is not reentrant.

Imports no machine-learning library: `load` returns the pipeline, as `torch_pipeline.load` does.
"""

import asyncio
import io
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

#: Pillow's options for writing an image: lossless, or without a visible loss.
_SAVING: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 6},
    "jpeg": {"quality": 92, "subsampling": 0, "optimize": True},
    "webp": {"quality": 90, "method": 3},
}
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One call of a pipeline."""

    prompt: str
    """What to draw."""
    seeds: tuple[int, ...]
    """A seed for each image."""
    output_format: str
    """`png`, `jpeg` or `webp`."""
    negative_prompt: str | None = None
    """What not to draw; None for nothing."""
    size: tuple[int, int] | None = None
    """Width and height in pixels; None for the pipeline's default."""
    image: Image.Image | None = None
    """Input image to start from (RGB); None for text alone."""
    mask: Image.Image | None = None
    """Grey image of the same size: the whiter, the more is redrawn; None for the whole image."""
    arguments: Mapping[str, float] = field(default_factory=dict)
    """Further arguments, by the pipeline's names."""


class Pipeline(Protocol):
    """A loaded model."""

    def __call__(self, drawing: Drawing, step: Callable[[float], None]) -> Sequence[Image.Image]:
        """Returns the images. Calls `step` after each step with the share done (0 to 1); its exceptions pass through.

        Raises `Unsupported` or `Flagged`.
        """


class DiffusionFailed(Exception):
    """A drawing ended without an image."""


class ModelUnusable(DiffusionFailed):
    """The model, or a library or device that it needs, is missing or cannot be loaded."""


class Unsupported(DiffusionFailed):
    """The model cannot draw the request; the message completes "PROVIDER cannot draw this:"."""


class Flagged(DiffusionFailed):
    """The model's safety checker withheld an image."""


class OutOfMemory(DiffusionFailed):
    """The device has too little free memory."""


class DrawingStopped(DiffusionFailed):
    """The drawing was canceled, or the provider is closing."""


class Diffusion:
    """A pipeline in its thread. `draw` may be canceled at any time; the drawing then ends at its next step.

    The first drawing loads the pipeline. Drawings run one after the other.
    """

    def __init__(self, load: Callable[[], Pipeline]) -> None:
        self._load = load
        self._pipeline: Pipeline | None = None
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="diffusion")

    async def draw(self, drawing: Drawing, report: Callable[[float], None]) -> list[bytes]:
        """Returns the encoded images, one for each seed, after reporting all progress. Raises `DiffusionFailed`."""
        loop = asyncio.get_running_loop()
        canceled = threading.Event()
        unreported: deque[float] = deque()

        def report_all() -> None:
            while unreported:
                share = unreported.popleft()
                if not canceled.is_set():
                    report(share)

        def step(share: float) -> None:
            if canceled.is_set() or self._closing.is_set():
                raise DrawingStopped
            unreported.append(share)
            loop.call_soon_threadsafe(report_all)

        try:
            return await loop.run_in_executor(self._thread, self._draw, drawing, step)
        except asyncio.CancelledError:
            canceled.set()
            raise
        finally:
            # Callbacks that the thread scheduled may not have run yet: since Python 3.14, work that ended before the
            # executor returns its future gives a future that is done at once, and awaiting it does not run the loop.
            report_all()

    async def close(self) -> None:
        """Stops drawing and waits until the thread has ended."""
        self._closing.set()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._pipeline = None

    # The methods below run in the thread.

    def _draw(self, drawing: Drawing, step: Callable[[float], None]) -> list[bytes]:
        failure: DiffusionFailed
        try:
            return self._drawn(drawing, step)
        except DrawingStopped:
            failure = DrawingStopped("The drawing was stopped.")
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            failure = OutOfMemory("The device is out of memory.")
        # Raised here and not above: an error's frames would keep the memory that the next drawing needs.
        raise failure

    def _drawn(self, drawing: Drawing, step: Callable[[float], None]) -> list[bytes]:
        if self._pipeline is None:
            self._pipeline = self._load()
        step(0.0)
        images = self._pipeline(drawing, step)
        for image in images:
            if drawing.size is not None and image.size != drawing.size:
                raise Unsupported(f"it made {image.width}x{image.height} instead; side_multiple may be too small")
        return [_encoded(image, drawing.output_format) for image in images]


def _is_out_of_memory(error: Exception) -> bool:
    # GPUs have their own exception class for it, the CPU only a message.
    is_memory_error = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_memory_error or any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _encoded(image: Image.Image, output_format: str) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, output_format.upper(), **_SAVING[output_format])
    return file.getvalue()
