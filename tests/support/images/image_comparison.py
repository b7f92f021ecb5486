"""Images as tests compare them: drawn small, decoded, averaged, compared."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.generator.adapters.providers.procedural.drawing import render


def draw(prompt: str, **changes: Any) -> bytes:
    """Returns a small PNG of the prompt; `changes` are further arguments of `render`."""
    arguments: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": None,
        "seed": 7,
        "width": 160,
        "height": 160,
        "output_format": "png",
    }
    return render(**(arguments | changes))


def opened(file: bytes) -> Image.Image:
    """The file, decoded whole."""
    image = Image.open(io.BytesIO(file))
    image.load()
    return image


def thumbnail(file: bytes) -> NDArray[np.float64]:
    """Returns the image as 32 by 32 by 3 numbers in 0..255."""
    small = opened(file).convert("RGB").resize((32, 32), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)


def distance(a: bytes, b: bytes) -> float:
    """Returns how much two images differ: mean absolute difference of their 32x32 RGB thumbnails, 0..255."""
    return float(np.abs(thumbnail(a) - thumbnail(b)).mean())


def mean_color(file: bytes) -> tuple[float, float, float]:
    """Returns mean red, green and blue of an image."""
    red, green, blue = thumbnail(file).mean(axis=(0, 1))
    return float(red), float(green), float(blue)
