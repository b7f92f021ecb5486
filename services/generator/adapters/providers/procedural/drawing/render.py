"""Draws a prompt and returns the file of the image."""

from collections.abc import Callable

from services.generator.adapters.providers.procedural.drawing.composition import Layer, plan
from services.generator.adapters.providers.procedural.drawing.encode import OutputFormat, encode
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paper import grain, vignette
from services.generator.adapters.providers.procedural.drawing.prompt.reading import read
from services.generator.adapters.providers.procedural.drawing.scene import Scene, stage
from services.generator.adapters.providers.procedural.drawing.styles import MANNERS

SMALLEST_SIDE, LARGEST_SIDE = 64, 2048


def render(
    *,
    prompt: str,
    negative_prompt: str | None,
    seed: int,
    width: int,
    height: int,
    output_format: OutputFormat,
    progress: Callable[[float], None] | None = None,
) -> bytes:
    """Draws the prompt by rules and returns the file.

    Guaranteed: equal arguments give equal bytes on one platform with one version of numpy and Pillow. Intended, not
    guaranteed: equal pixels on all platforms, because only exactly rounded arithmetic and coarsely rounded constants
    affect them. The design depends only on prompt and seed: another size or format shows the same motif, and a negative
    prompt leaves the rest in its position. Sides are 64..2048 pixels, others raise `ValueError`. `progress` is called
    with rising values from 0 to 1, at least eight times; its exceptions stop the drawing and pass to the caller.
    """
    for side, length in (("width", width), ("height", height)):
        if not SMALLEST_SIDE <= length <= LARGEST_SIDE:
            raise ValueError(f"{side} must be {SMALLEST_SIDE}..{LARGEST_SIDE} pixels, not {length}")
    report = progress or _ignore_progress
    report(0.0)
    reading = read(prompt, negative_prompt)
    report(0.03)
    scene = stage(reading, seed, width / height)
    report(0.06)
    canvas = Canvas(width, height)
    steps = _steps(scene)
    for done, step in enumerate(steps, start=1):
        step(canvas, scene)
        report(round(0.06 + 0.82 * done / len(steps), 4))
    image = canvas.image()
    report(0.93)
    encoded = encode(image, output_format, seed)
    report(1.0)
    return encoded


def _steps(scene: Scene) -> list[Layer]:
    manner = MANNERS.get(scene.reading.style or "")
    return [*plan(scene), *([manner] if manner else []), vignette, grain]


def _ignore_progress(share: float) -> None:
    """Ignores the progress."""
