"""From a prompt to the bytes of a picture."""

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

    Promised: equal arguments give equal bytes on one platform with one version of numpy and Pillow. Meant, not
    promised: equal pixels on all platforms, since only exactly rounded arithmetic and coarsely rounded constants reach
    them. The design follows from prompt and seed alone: another size or format shows the same picture, and a negative
    prompt leaves the rest where it was. Sides are 64..2048 pixels, others raise `ValueError`. `progress` is called with
    0..1, rising, at least eight times; what it raises stops the drawing and reaches the caller.
    """
    for side, length in (("width", width), ("height", height)):
        if not SMALLEST_SIDE <= length <= LARGEST_SIDE:
            raise ValueError(f"{side} must be {SMALLEST_SIDE}..{LARGEST_SIDE} pixels, not {length}")
    report = progress or _unheard
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
    picture = encode(image, output_format, seed)
    report(1.0)
    return picture


def _steps(scene: Scene) -> list[Layer]:
    manner = MANNERS.get(scene.reading.style or "")
    return [*plan(scene), *([manner] if manner else []), vignette, grain]


def _unheard(share: float) -> None:
    """Tells nobody."""
