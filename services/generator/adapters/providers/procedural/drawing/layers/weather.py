"""What falls and drifts before everything else: mist, rain, snow."""

import numpy as np

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paint.colour import WHITE, lift, mix
from services.generator.adapters.providers.procedural.drawing.paint.noise import cloud, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def mist(canvas: Canvas, scene: Scene) -> None:
    """Banks of mist around the horizon."""
    drift = cloud(scene.dice("mist"), canvas.width, canvas.height, canvas.unit * 0.16, octaves=4, stretch=4)
    away = np.abs(canvas.rows / np.float32(canvas.height) - np.float32(scene.horizon + 0.02))
    band = 1 - smooth(0.0, 0.2, away)
    canvas.blend(
        mix(scene.palette.haze, scene.palette.light, 0.35), smooth(-0.45, 0.75, drift) * band * np.float32(0.9)
    )


def rain(canvas: Canvas, scene: Scene) -> None:
    """Slanting rain in two depths."""
    dice, unit = scene.dice("rain"), canvas.unit
    area = min(3.0, canvas.width * canvas.height / (unit * unit))
    for count, long, thick, opacity in ((420, 0.03, 0.0011, 0.3), (150, 0.07, 0.0018, 0.38)):
        drops = Stencil()
        for _ in range(int(count * area)):
            x, y = dice.between(-0.05, 1.1) * canvas.width, dice.between(-0.1, 1) * canvas.height
            reach = unit * long * dice.between(0.6, 1.4)
            drops.stroke([(x, y), (x - reach * 0.22, y + reach)], unit * thick)
        canvas.paint(drops, lift(mix(scene.palette.light, scene.palette.haze, 0.4), 0.04), opacity)


def snow(canvas: Canvas, scene: Scene) -> None:
    """Snow in three depths, the nearest out of focus."""
    dice, unit = scene.dice("snow"), canvas.unit
    area = min(3.0, canvas.width * canvas.height / (unit * unit))
    flake = mix(WHITE, scene.palette.haze, 0.12)
    for count, size, blur, opacity in ((420, 0.0016, 0.0, 0.7), (170, 0.003, 0.0008, 0.8), (34, 0.0075, 0.004, 0.6)):
        flakes = Stencil()
        for _ in range(int(count * area)):
            flakes.disc(
                dice.between(0, 1) * canvas.width,
                dice.between(0, 1) * canvas.height,
                unit * size * dice.between(0.6, 1.3),
            )
        canvas.paint(flakes, flake, opacity, soften=unit * blur)
