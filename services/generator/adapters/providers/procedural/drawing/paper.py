"""The last layers: darker corners and the grain of the paper."""

import numpy as np

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paint.noise import cells, cloud, smooth
from services.generator.adapters.providers.procedural.drawing.scene import Scene

_BARE = frozenset({"pixel", "lines", "watercolor", "poster"})


def vignette(canvas: Canvas, scene: Scene) -> None:
    """Darkens the corners a little."""
    if scene.reading.style in _BARE:
        return
    u = canvas.columns / np.float32(canvas.width) * 2 - 1
    v = canvas.rows / np.float32(canvas.height) * 2 - 1
    canvas.blend(
        scene.palette.ink,
        smooth(0.75, 2.1, u * u + v * v) * np.float32(0.22 if scene.reading.framing == "macro" else 0.36),
    )


def grain(canvas: Canvas, scene: Scene) -> None:
    """Fibres, blotches and fine grain, strongest in the middle tones."""
    if scene.reading.style == "pixel":
        return
    dice, wide, high = scene.dice("paper"), canvas.width, canvas.height
    fine = dice.field(high, wide) - np.float32(0.5)
    long, thin = canvas.unit * 0.02, max(1.0, canvas.unit * 0.0016)
    fibre = cells(dice, wide, high, long, thin) + cells(dice, wide, high, thin, long)
    blotch = cloud(dice, wide, high, canvas.unit * 0.25, octaves=3)
    tone = canvas.luminance()
    touch = (fine * np.float32(0.05) + fibre * np.float32(0.008) + blotch * np.float32(0.014)) * (
        np.float32(0.45) + tone * (1 - tone) * np.float32(2.2)
    )
    canvas.planes += touch[None, :, :]
