"""Drawing with a diffusion pipeline, in one thread: a pipeline is loaded once, and is not reentrant.

Knows no library: `load` gives the pipeline, as `torch_pipeline` does.
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

#: How a picture is written: lossless, or so that nobody sees the loss.
_SAVING: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 6},
    "jpeg": {"quality": 92, "subsampling": 0, "optimize": True},
    "webp": {"quality": 90, "method": 3},
}
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What is to be drawn: an image for each seed; without a size, the pipeline's own."""

    prompt: str
    seeds: tuple[int, ...]
    output_format: str
    negative_prompt: str | None = None
    size: tuple[int, int] | None = None
    #: The picture to begin with; and what of it is to be drawn anew, grey, of its size: white is wholly.
    picture: Image.Image | None = None
    mask: Image.Image | None = None
    #: Further arguments, by the pipeline's own names.
    arguments: Mapping[str, float] = field(default_factory=dict)


class Pipeline(Protocol):
    """A model that is ready to draw."""

    def __call__(self, drawing: Drawing, step: Callable[[float], None]) -> Sequence[Image.Image]:
        """The images. Tells `step` after each step what share is done, and lets pass what that raises.

        Raises `Unsupported` or `Flagged`.
        """


class DiffusionFailed(Exception):
    """There is no picture."""


class ModelUnusable(DiffusionFailed):
    """The model, or what it needs, is not there or does not load."""


class Unsupported(DiffusionFailed):
    """The model cannot draw this."""


class Flagged(DiffusionFailed):
    """The model's safety checker withheld a picture."""


class OutOfMemory(DiffusionFailed):
    """The device has no room for this at present."""


class DrawingStopped(DiffusionFailed):
    """Nobody wants this drawing any more."""


class Diffusion:
    """A pipeline in its thread. `draw` may be canceled at any time; the drawing then ends at its next step.

    The pipeline is loaded by the first drawing. Drawings wait for each other, also for one that is ending.
    """

    def __init__(self, load: Callable[[], Pipeline]) -> None:
        self._load = load
        self._pipeline: Pipeline | None = None
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="diffusion")

    async def draw(self, drawing: Drawing, report: Callable[[float], None]) -> list[bytes]:
        """The encoded images, one for each seed; all progress is reported before. Raises `DiffusionFailed`."""
        loop = asyncio.get_running_loop()
        unwanted = threading.Event()
        untold: deque[float] = deque()

        def tell() -> None:
            while untold:
                share = untold.popleft()
                if not unwanted.is_set():
                    report(share)

        def step(share: float) -> None:
            if unwanted.is_set() or self._closing.is_set():
                raise DrawingStopped
            untold.append(share)
            loop.call_soon_threadsafe(tell)

        try:
            return await loop.run_in_executor(self._thread, self._draw, drawing, step)
        except asyncio.CancelledError:
            unwanted.set()
            raise
        finally:
            # What the thread scheduled may not have run yet: since Python 3.14, work that has ended before the executor
            # returns its future gives a future that is done at once, and awaiting that does not let the loop run.
            tell()

    async def close(self) -> None:
        """Stop drawing, and wait until the thread has ended."""
        self._closing.set()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._pipeline = None

    # What follows runs in the thread.

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
        # Raised here and not above: the frames that an error remembers hold the memory that the next drawing needs.
        raise failure

    def _drawn(self, drawing: Drawing, step: Callable[[float], None]) -> list[bytes]:
        if self._pipeline is None:
            self._pipeline = self._load()
        step(0.0)
        images = self._pipeline(drawing, step)
        for image in images:
            if drawing.size is not None and image.size != drawing.size:
                raise Unsupported(f"made {image.width}x{image.height} instead; side_multiple may be too small")
        return [_encoded(image, drawing.output_format) for image in images]


def _is_out_of_memory(error: Exception) -> bool:
    # Devices tell it in a class of their own; the processor only in words.
    told = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return told or any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _encoded(image: Image.Image, output_format: str) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, output_format.upper(), **_SAVING[output_format])
    return file.getvalue()
